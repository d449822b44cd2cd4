# SPDX-License-Identifier: AGPL-3.0-or-later
"""Measures the three little models, loaded from their folders, on what training never saw.

Run it with: python -m openhorde.worker.demo.companions.evaluate FOLDER [--only text]
It writes FOLDER/NAME/figures.json and FOLDER/NAME/MODEL_CARD.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)

from openhorde.worker.demo.companions import captioning, ranking, writing
from openhorde.worker.demo.companions.cards import write_card
from openhorde.worker.demo.companions.pictures import (
    Shown,
    drawn,
    held_out_diffused,
    held_out_drawings,
)
from openhorde.worker.demo.companions.train import NAMES
from openhorde.worker.library.loading import load_beside, load_model
from openhorde.worker.library.shipped import shipped

Figures = dict[str, Any]
# Other seeds than those that the training looks at while it runs.
_SEED = 7


class Evaluation:
    """One run: the pictures are drawn once, when the first model asks for them."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._pictures = cache(self._draw)

    def run(self, name: str) -> Figures:
        """Measure one model and return the figures."""
        measure: dict[str, Callable[[], Figures]] = {
            "text": self._text,
            "caption": self._caption,
            "rank": self._rank,
        }
        weights = self._folder / name / "model.safetensors"
        return {**measure[name](), "weights_bytes": weights.stat().st_size}

    def _draw(self) -> dict[str, list[Shown]]:
        """Pictures of held-out combinations: clean, spoiled, and drawn by the diffusion model."""
        return {
            "drawings": drawn(self._count, np.random.default_rng([_SEED, 67]), held_out=True),
            "spoiled drawings": held_out_drawings(self._count, _SEED),
            "diffused": held_out_diffused(shipped("shapes"), self._count, _SEED),
        }

    def _load(self, kind: Any, name: str) -> Any:
        return load_model(kind, self._folder / name, torch.device("cpu"))

    def _caption(self) -> Figures:
        model = self._load(AutoModelForImageTextToText, "caption")
        processor = load_beside(AutoProcessor, self._folder / "caption")
        rows = {}
        for name, shown in self._pictures().items():
            captions = captioning.caption_all(model, processor, shown)
            shares = captioning.shares_named(captions, [one.attributes for one in shown])
            rows[name] = {"pictures": len(shown), **shares}
        return {"rows": rows}

    def _rank(self) -> Figures:
        model = self._load(AutoModel, "rank")
        tokenizer = load_beside(AutoProcessor, self._folder / "rank").tokenizer
        rows = {
            name: {"pictures": len(shown), **ranking.shares_on_top(model, tokenizer, shown)}
            for name, shown in self._pictures().items()
        }
        return {"rows": rows}

    def _text(self) -> Figures:
        model = self._load(AutoModelForCausalLM, "text")
        tokenizer = load_beside(AutoTokenizer, self._folder / "text")
        measured = writing.measure_writer(model, tokenizer, self._count, _SEED)
        return {"rows": {"held-out heroes": {"texts": self._count, **measured}}}


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and evaluate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds the folders of the models")
    parser.add_argument("--only", choices=NAMES, action="append", help="measure this; may repeat")
    parser.add_argument("--count", type=int, default=189, help="pictures or texts for each row")
    parser.add_argument("--threads", type=int, help="processor threads; torch decides if left out")
    chosen = parser.parse_args(arguments)
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    evaluation = Evaluation(chosen.folder, chosen.count)
    for name in chosen.only or NAMES:
        figures = evaluation.run(name)
        target = chosen.folder / name
        text = json.dumps(figures, indent=2) + "\n"
        (target / "figures.json").write_text(text, encoding="utf-8")
        write_card(name, figures, target)
        Console().print(f"{name}: {text}")


if __name__ == "__main__":
    main()
