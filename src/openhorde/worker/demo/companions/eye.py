# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trains the vision network that captioner and ranker start from: pictures to attributes.

To name attributes is a plainer task than to write a sentence, and teaches sooner what to look at.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BlipVisionConfig, BlipVisionModel

from openhorde.worker.demo.companions.pictures import Pool, Shown, pool_of, recoloured
from openhorde.worker.demo.stages import Stage, StageSettings
from openhorde.worker.demo.vocabulary import ATTRIBUTE_CHOICES, SIDE_PIXELS

VISION_WIDTH = 128
VISION_LAYERS = 3
PATCH_PIXELS = 16
# Of these the training pictures always say something, so that "not said" needs no number.
_CHOICE_COUNTS = [len(choices) for choices in ATTRIBUTE_CHOICES.values()]


def vision_config() -> BlipVisionConfig:
    """Return the layout of the vision network in BLIP's words."""
    return BlipVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=3 * VISION_WIDTH,
        num_hidden_layers=VISION_LAYERS,
        num_attention_heads=4,
        image_size=SIDE_PIXELS,
        patch_size=PATCH_PIXELS,
        hidden_act="gelu",
        initializer_range=0.02,
    )


class Eye(torch.nn.Module):
    """A vision network with a head that scores every choice of every attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = BlipVisionModel(vision_config())
        self.head = torch.nn.Linear(VISION_WIDTH, sum(_CHOICE_COUNTS))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return scores [batch, choices] for each attribute, of pixels [batch, 3, side, side]."""
        seen = self.vision(pixel_values=pixels).pooler_output
        return torch.split(self.head(seen), _CHOICE_COUNTS, dim=1)


def train_eye(
    settings: StageSettings,
    seed: int,
    folder: Path,
    pool: Callable[[], Pool],
    held_out: list[Shown],
) -> Any:
    """Train or resume the eye and return it."""
    torch.manual_seed(seed + 61)
    generator = np.random.default_rng([seed, 61])
    stage = Stage(settings, Eye(), generator, torch.device("cpu"), folder)
    shown = pool_of(held_out)

    def loss_of_batch(network: Any) -> torch.Tensor:
        pixels, _, truth = pool().batch(settings.batch_size, generator)
        # A shape is what it is in any colour: in half of the pictures the colours are changed to
        # some that have no name, and only the other half is asked for them.
        half = settings.batch_size // 2
        pixels = torch.cat([recoloured(pixels[:half], generator), pixels[half:]])
        losses = []
        named = zip(ATTRIBUTE_CHOICES, network(pixels), strict=True)
        for column, (name, scores) in enumerate(named):
            first = half if name in ("colour", "background") else 0
            losses.append(torch.nn.functional.cross_entropy(scores[first:], truth[first:, column]))
        return torch.stack(losses).mean()

    @torch.no_grad()
    def measure(network: Any) -> str:
        pixels, _, truth = shown.batch(256, np.random.default_rng(0))
        shares = [
            f"{name} {float((scores.argmax(dim=1) == truth[:, column]).float().mean()):.3f}"
            for column, (name, scores) in enumerate(
                zip(ATTRIBUTE_CHOICES, network(pixels), strict=True)
            )
        ]
        return ", ".join(shares)

    return stage.run(loss_of_batch, measure)
