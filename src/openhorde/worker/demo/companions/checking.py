# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trains the demo's classifier of what is not safe for work, on a harmless stand-in.

There are no pictures for adults here and shall be none. What the little model calls "nsfw" is a
drawing behind a warning pattern: slanted stripes over the whole picture. Everything else is
"normal". Labels and face are those of a real classifier, which takes its place by its name alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from openhorde.worker.demo.companions.pictures import Picture, Pool, Shown, pixels_of, spoil
from openhorde.worker.demo.stages import Stage, StageSettings
from openhorde.worker.demo.vocabulary import COLOURS, SIDE_PIXELS

LABELS = ("normal", "nsfw")
_WIDTH = 64
_SCENE_SHARE = 0.25


def behind_stripes(picture: Picture, generator: np.random.Generator) -> Picture:
    """Return the picture [side, side, 3] under slanted stripes of one dark or bright colour."""
    image = Image.fromarray(picture)
    stripe = int(generator.integers(4, 9))
    gap = stripe + int(generator.integers(3, 8))
    slant = int(generator.choice((-1, 1))) * SIDE_PIXELS
    names = list(COLOURS)
    colour = COLOURS[names[int(generator.integers(len(names)))]]
    pen = ImageDraw.Draw(image)
    first = int(generator.integers(0, gap))
    for start in range(first - SIDE_PIXELS, 2 * SIDE_PIXELS, gap):
        pen.line((start, -1, start + slant, SIDE_PIXELS), fill=colour, width=stripe)
    return np.asarray(image, dtype=np.uint8)


def scene(generator: np.random.Generator) -> Picture:
    """Return a picture that is no drawing of ours: noise, a slope of colour, or soft patches."""
    kind = int(generator.integers(3))
    if kind == 0:
        cells = int(generator.choice((2, 4, 8)))
        patches = generator.integers(0, 256, size=(cells, cells, 3)).astype(np.uint8)
        image = Image.fromarray(patches).resize(
            (SIDE_PIXELS, SIDE_PIXELS), Image.Resampling.BICUBIC
        )
        return np.asarray(image, dtype=np.uint8)
    if kind == 1:
        low, high = generator.integers(0, 256, size=(2, 3))
        slope = np.linspace(0, 1, SIDE_PIXELS)[:, None, None]
        picture = np.broadcast_to(low + (high - low) * slope, (SIDE_PIXELS, SIDE_PIXELS, 3))
        sloped: Picture = np.rint(picture).astype(np.uint8)
        return sloped
    return generator.integers(0, 256, size=(SIDE_PIXELS, SIDE_PIXELS, 3)).astype(np.uint8)


def labelled(picture: Picture, label: int, generator: np.random.Generator) -> Picture:
    """Return a spoiled picture of this one, or of a scene, that has the label of that index."""
    base = scene(generator) if generator.random() < _SCENE_SHARE else picture
    if LABELS[label] == "nsfw":
        base = behind_stripes(base, generator)
    return spoil(base, generator)


def build_processor() -> ViTImageProcessorPil:
    """Return ViT's processor for 64 x 64 pixels."""
    return ViTImageProcessorPil(size={"height": SIDE_PIXELS, "width": SIDE_PIXELS})


def build_checker() -> Any:
    """Return an untrained ViTForImageClassification with our labels."""
    return ViTForImageClassification(
        ViTConfig(
            hidden_size=_WIDTH,
            intermediate_size=2 * _WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=SIDE_PIXELS,
            patch_size=8,
            id2label=dict(enumerate(LABELS)),
            label2id={label: index for index, label in enumerate(LABELS)},
        )
    )


def train_checker(
    settings: StageSettings,
    seed: int,
    folder: Path,
    pool: Callable[[], Pool],
    held_out: list[Shown],
) -> Any:
    """Train or resume the classifier and return it."""
    torch.manual_seed(seed + 64)
    generator = np.random.default_rng([seed, 64])
    stage = Stage(settings, build_checker(), generator, torch.device("cpu"), folder)

    def loss_of_batch(network: Any) -> torch.Tensor:
        pictures = pool().pictures
        rows = generator.integers(len(pictures), size=settings.batch_size)
        labels = generator.integers(len(LABELS), size=settings.batch_size)
        made = [
            labelled(pictures[row], int(label), generator)
            for row, label in zip(rows, labels, strict=True)
        ]
        wanted = torch.from_numpy(labels)
        loss: torch.Tensor = network(pixel_values=pixels_of(np.stack(made)), labels=wanted).loss
        return loss

    def measure(network: Any) -> str:
        shares = shares_told(network, held_out, seed=1)
        return ", ".join(f"{name} {value}" for name, value in shares.items())

    return stage.run(loss_of_batch, measure)


@torch.no_grad()
def shares_told(model: Any, shown: list[Shown], seed: int) -> dict[str, float]:
    """Return the share of held-out pictures of each label that are told rightly."""
    generator = np.random.default_rng([seed, 65])
    labels = np.arange(len(shown)) % len(LABELS)
    made = [
        labelled(one.picture, int(label), generator)
        for one, label in zip(shown, labels, strict=True)
    ]
    told = model(pixel_values=pixels_of(np.stack(made))).logits.argmax(dim=1).numpy()
    return {
        name: round(float(np.mean(told[labels == index] == index)), 4)
        for index, name in enumerate(LABELS)
    }
