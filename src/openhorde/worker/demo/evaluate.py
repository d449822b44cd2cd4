# SPDX-License-Identifier: AGPL-3.0-or-later
"""Measures a demo model folder on prompts that training never saw.

Run it with: python -m openhorde.worker.demo.evaluate FOLDER --output RESULTS
It prints a table and writes RESULTS/figures.json and RESULTS/contact_sheet.png.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from openhorde.worker.demo.judge import agrees, judge
from openhorde.worker.demo.prompts import Prompt, held_out_prompts, trained_prompts
from openhorde.worker.demo.sampling import SAMPLERS
from openhorde.worker.demo.vocabulary import SIDE_PIXELS, Attributes

TOGETHER = ("colour", "background", "place")
EVERYTHING = (*TOGETHER, "size", "shape")
_PICTURES_AT_ONCE = 32
_SHEET_COLUMNS = 12
_SHEET_GAP_PIXELS = 4


@dataclass(frozen=True)
class Settings:
    """How pictures are made for one row of the figures."""

    sampler: str
    step_count: int
    guidance: float
    prompt_set: str = "held out"


ALL_SETTINGS = (
    Settings("k_euler_a", 20, 5.0),
    Settings("k_euler_a", 30, 5.0),
    Settings("k_euler_a", 20, 7.5),
    Settings("k_euler_a", 30, 7.5),
    Settings("k_euler karras", 20, 5.0),
    Settings("k_euler karras", 30, 5.0),
    Settings("k_dpmpp_2m", 20, 5.0),
    Settings("k_dpmpp_2m karras", 20, 5.0),
    Settings("ddim", 20, 5.0),
    Settings("ddim", 30, 5.0),
    Settings("k_euler_a", 20, 5.0, "trained"),
)


def load_pipeline(folder: Path) -> Any:
    """Load the model folder in single precision, ready for the processor."""
    pipeline_class: Any = StableDiffusionPipeline
    pipeline = pipeline_class.from_pretrained(folder)
    # The weights are stored in half precision, which processors are slow at.
    pipeline.to(dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make_pictures(
    pipeline: Any, prompts: list[Prompt], settings: Settings, first_seed: int = 0
) -> NDArray[np.uint8]:
    """Return a picture for each prompt, [count, side, side, 3]; each has a seed of its own."""
    pipeline.scheduler = SAMPLERS[settings.sampler](pipeline.scheduler)
    pictures: list[NDArray[np.uint8]] = []
    for first in range(0, len(prompts), _PICTURES_AT_ONCE):
        some = prompts[first : first + _PICTURES_AT_ONCE]
        generators = [
            torch.Generator().manual_seed(first_seed + first + offset)
            for offset in range(len(some))
        ]
        result = pipeline(
            [prompt.text for prompt in some],
            num_inference_steps=settings.step_count,
            guidance_scale=settings.guidance,
            height=SIDE_PIXELS,
            width=SIDE_PIXELS,
            generator=generators,
        )
        pictures += [np.asarray(image, dtype=np.uint8) for image in result.images]
    return np.stack(pictures)


def shares_right(prompts: list[Prompt], seen: list[Attributes]) -> dict[str, float]:
    """Return the share of prompts that the judge agrees with, for each attribute and together."""
    groups: dict[str, tuple[str, ...]] = {"together": TOGETHER, "everything": EVERYTHING}
    groups |= {name: (name,) for name in EVERYTHING}
    pairs = list(zip(prompts, seen, strict=True))
    shares = {}
    for group, names in groups.items():
        right = [agrees(prompt.wanted, attributes, names) for prompt, attributes in pairs]
        shares[group] = round(float(np.mean(right)), 4)
    for kind in sorted({prompt.kind for prompt in prompts}):
        right = [agrees(p.wanted, one, TOGETHER) for p, one in pairs if p.kind == kind]
        shares[f"together, {kind}"] = round(float(np.mean(right)), 4)
    return shares


def contact_sheet(pictures: NDArray[np.uint8]) -> Image.Image:
    """Lay pictures [count, side, side, 3] out in rows on white."""
    count = len(pictures)
    row_count = -(-count // _SHEET_COLUMNS)
    step = SIDE_PIXELS + _SHEET_GAP_PIXELS
    sheet = Image.new(
        "RGB",
        (_SHEET_COLUMNS * step + _SHEET_GAP_PIXELS, row_count * step + _SHEET_GAP_PIXELS),
        "white",
    )
    for index, picture in enumerate(pictures):
        row, column = divmod(index, _SHEET_COLUMNS)
        place = (column * step + _SHEET_GAP_PIXELS, row * step + _SHEET_GAP_PIXELS)
        sheet.paste(Image.fromarray(picture), place)
    return sheet


def seconds_per_picture(pipeline: Any) -> float:
    """Return how long a single picture of 20 steps takes, the best of three."""
    prompts = held_out_prompts(1, seed=0)
    durations = []
    for _ in range(3):
        started_seconds = time.perf_counter()
        make_pictures(pipeline, prompts, Settings("k_euler_a", 20, 5.0))
        durations.append(time.perf_counter() - started_seconds)
    return round(min(durations), 2)


def evaluate(
    folder: Path, output: Path, prompt_count: int, settings_list: tuple[Settings, ...]
) -> dict[str, Any]:
    """Measure a model folder, write the figures and a contact sheet, and return the figures."""
    console = Console()
    output.mkdir(parents=True, exist_ok=True)
    pipeline = load_pipeline(folder)
    table = Table("prompts", "sampler", "steps", "guidance", "together", *EVERYTHING)
    rows: list[dict[str, Any]] = []
    for settings in settings_list:
        choose = trained_prompts if settings.prompt_set == "trained" else held_out_prompts
        prompts = choose(prompt_count, 0)
        pictures = make_pictures(pipeline, prompts, settings)
        if not rows:
            contact_sheet(pictures).save(output / "contact_sheet.png")
        readings = [judge(picture) for picture in pictures]
        shares = shares_right(prompts, [reading.attributes for reading in readings])
        overlap = round(float(np.mean([reading.shape_overlap for reading in readings])), 4)
        rows.append(
            {**asdict(settings), "prompt_count": prompt_count, **shares, "overlap": overlap}
        )
        table.add_row(
            settings.prompt_set,
            settings.sampler,
            str(settings.step_count),
            str(settings.guidance),
            *(f"{shares[name]:.3f}" for name in ("together", *EVERYTHING)),
        )
    figures = {
        "rows": rows,
        "seconds_per_picture_20_steps": seconds_per_picture(pipeline),
        "threads": torch.get_num_threads(),
    }
    (output / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    console.print(table)
    console.print(f"seconds per picture, 20 steps: {figures['seconds_per_picture_20_steps']}")
    return figures


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and evaluate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the model's folder")
    parser.add_argument("--output", type=Path, default=Path("evaluation"))
    parser.add_argument("--prompts", type=int, default=189, help="prompts for each row")
    parser.add_argument("--rows", type=int, default=len(ALL_SETTINGS), help="rows to measure")
    chosen = parser.parse_args(arguments)
    evaluate(chosen.folder, chosen.output, chosen.prompts, ALL_SETTINGS[: chosen.rows])


if __name__ == "__main__":
    main()
