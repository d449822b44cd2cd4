# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trains the three little models from nothing: caption, rank and text.

Run it with: python -m openhorde.worker.demo.companions.train --output FOLDER [--only text]
It needs no data but the demo's diffusion model: it draws and writes its own. Cut off, it goes on
from its last checkpoints. Measure and describe what came out with `...companions.evaluate FOLDER`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from openhorde.worker.demo.companions import captioning, ranking, writing
from openhorde.worker.demo.companions.eye import train_eye
from openhorde.worker.demo.companions.pictures import Pool, held_out_drawings, training_pool
from openhorde.worker.demo.companions.ranking import words_that_fit_no_drawing
from openhorde.worker.demo.stages import StageSettings
from openhorde.worker.library.shipped import shipped

NAMES = ("text", "caption", "rank")
TEXT_MODEL_NAME = "openhorde/stories"


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides what the trained models will be, but for the code itself."""

    seed: int = 0
    text_steps: int = 1400
    text_batch_size: int = 8
    eye_steps: int = 2800
    caption_steps: int = 1300
    rank_steps: int = 300
    batch_size: int = 48
    drawn_count: int = 5000
    diffused_count: int = 64
    measured_count: int = 128
    measured_texts: int = 8


class Training:
    """One run: what several models need is made once, when the first of them asks for it."""

    def __init__(self, plan: TrainingPlan, output: Path, checkpoints: Path) -> None:
        self._plan = plan
        self._output = output
        self._checkpoints = checkpoints
        self._held_out = held_out_drawings(plan.measured_count, plan.seed + 1)
        self._pool = cache(self._draw_pool)
        self._captioner = cache(self._train_captioner)

    def run(self, name: str) -> None:
        """Train one model and write its folder."""
        {
            "text": self._text,
            "caption": self._caption,
            "rank": self._rank,
        }[name]()

    def _draw_pool(self) -> Pool:
        plan = self._plan
        return training_pool(shipped("shapes"), plan.drawn_count, plan.diffused_count, plan.seed)

    def _train_eye(self) -> Any:
        plan = self._plan
        settings = StageSettings("eye", plan.eye_steps, plan.batch_size, 1e-3, 0.99, 200)
        return train_eye(settings, plan.seed, self._checkpoints, self._pool, self._held_out)

    def _text(self) -> None:
        plan = self._plan
        tokenizer = writing.build_tokenizer(plan.seed)
        settings = StageSettings("text", plan.text_steps, plan.text_batch_size, 3e-3, 0.99, 100)
        model = writing.train_writer(
            settings, plan.seed, self._checkpoints, tokenizer, plan.measured_texts
        )
        self._write("text", model, tokenizer)
        about = json.dumps({"name": TEXT_MODEL_NAME}, indent=2)
        (self._output / "text" / "openhorde.json").write_text(about + "\n", encoding="utf-8")

    def _caption(self) -> None:
        # A processor that has been used keeps the padding of its last call: a fresh one is written.
        self._write("caption", self._captioner(), captioning.build_processor())

    def _train_captioner(self) -> Any:
        plan = self._plan
        processor = captioning.build_processor()
        settings = StageSettings("caption", plan.caption_steps, plan.batch_size, 8e-4, 0.98, 100)
        return captioning.train_captioner(
            settings,
            plan.seed,
            self._checkpoints,
            self._pool,
            self._held_out,
            processor,
            self._train_eye(),
        )

    def _rank(self) -> None:
        plan = self._plan
        tokens = self._checkpoints / "rank-tokenizer"
        processor = ranking.build_processor(tokens)
        settings = StageSettings("rank", plan.rank_steps, plan.batch_size, 6e-4, 0.98, 100)
        model = ranking.train_ranker(
            settings,
            plan.seed,
            self._checkpoints,
            self._pool,
            self._held_out,
            processor,
            self._captioner().vision_model,
            words_that_fit_no_drawing(),
        )
        # A tokenizer that has been used keeps the padding of its last call: a fresh one is written.
        self._write("rank", model, ranking.build_processor(tokens))

    def _write(self, name: str, model: Any, beside: Any) -> None:
        """Write a model in half precision, and what prepares its input, into its folder."""
        folder = self._output / name
        model.half().save_pretrained(folder)
        beside.save_pretrained(folder)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and train."""
    defaults = TrainingPlan()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the three models")
    parser.add_argument("--only", choices=NAMES, action="append", help="train this one; may repeat")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        help="folder for checkpoints; OUTPUT with -checkpoints appended when left out",
    )
    parser.add_argument("--threads", type=int, help="processor threads; torch decides if left out")
    for name, value in vars(defaults).items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=int, default=value, help=f"default {value}")
    chosen = parser.parse_args(arguments)
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    plan = TrainingPlan(**{name: getattr(chosen, name) for name in vars(defaults)})
    output: Path = chosen.output
    checkpoints: Path = chosen.checkpoints or output.with_name(output.name + "-checkpoints")
    training = Training(plan, output, checkpoints)
    for name in chosen.only or NAMES:
        training.run(name)
        Console().print(f"wrote {output / name}")


if __name__ == "__main__":
    main()
