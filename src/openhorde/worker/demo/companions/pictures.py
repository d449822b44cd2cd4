# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures for the models that read: drawn by code, softened, or drawn by the diffusion model.

A reader meets pictures that were compressed, resized and drawn by a model whose edges are soft, so
the training pictures are spoiled likewise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from openhorde.worker.demo.drawings import draw, random_attributes
from openhorde.worker.demo.evaluate import Settings, load_pipeline, make_pictures
from openhorde.worker.demo.judge import judge
from openhorde.worker.demo.prompts import Prompt, held_out_prompts, trained_prompts
from openhorde.worker.demo.stage_autoencoder import pictures_to_tensor, tensor_to_pictures
from openhorde.worker.demo.vocabulary import SIDE_PIXELS, Attributes, attribute_indices

# To pass a picture through the autoencoder takes twenty times as long as to draw one.
_DRAWN_PER_SOFTENED = 6
# Pictures of the diffusion model come again so often in a pool, spoiled anew each time.
_TIMES_DIFFUSED = 8
_DECODED_AT_ONCE = 64
# A reading with less overlap than this is of no shape that the judge is sure of.
_SURE_OVERLAP = 0.75
_MOVED_PIXELS_MAX = 2
QUICK = Settings("k_dpmpp_2m", 12, 5.0)
HORDE_DEFAULTS = Settings("k_euler_a", 20, 5.0)

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """A picture [SIDE_PIXELS, SIDE_PIXELS, 3] and what it shows."""

    picture: Picture
    attributes: Attributes


def spoil(picture: Picture, generator: np.random.Generator) -> Picture:
    """Blur, resize, dim, compress and make noise, each by chance and so that an eye still reads."""
    image = Image.fromarray(picture)
    if generator.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0.2, 1.3))))
    if generator.random() < 0.2:
        side = int(generator.choice((40, 48, 96, 128, 256)))
        image = image.resize((side, side), Image.Resampling.BICUBIC)
        image = image.resize((SIDE_PIXELS, SIDE_PIXELS), Image.Resampling.BICUBIC)
    if generator.random() < 0.3:
        kept = BytesIO()
        image.save(kept, "WEBP", quality=int(generator.integers(30, 96)))
        image = Image.open(kept).convert("RGB")
    pixels: NDArray[Any] = np.asarray(image, dtype=np.float32)
    if generator.random() < 0.3:
        pixels = pixels * generator.uniform(0.93, 1.07) + generator.uniform(-6, 6)
    if generator.random() < 0.3:
        pixels = pixels + generator.normal(0, generator.uniform(1, 9), size=pixels.shape)
    spoiled: Picture = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return spoiled


def drawn(count: int, generator: np.random.Generator, held_out: bool = False) -> list[Shown]:
    """Return pictures drawn by code, clean."""
    wanted = [random_attributes(generator, held_out) for _ in range(count)]
    return [Shown(draw(attributes, generator), attributes) for attributes in wanted]


def held_out_drawings(count: int, seed: int) -> list[Shown]:
    """Return spoiled drawings of combinations that no training picture shows."""
    generator = np.random.default_rng([seed, 66])
    clean = drawn(count, generator, held_out=True)
    return [Shown(spoil(one.picture, generator), one.attributes) for one in clean]


@torch.no_grad()
def softened(shown: list[Shown], pipeline: Any) -> list[Shown]:
    """Return pictures as the diffusion model's autoencoder gives them back."""
    soft: list[Shown] = []
    for first in range(0, len(shown), _DECODED_AT_ONCE):
        some = shown[first : first + _DECODED_AT_ONCE]
        pixels = pictures_to_tensor(np.stack([one.picture for one in some]), torch.device("cpu"))
        latents = pipeline.vae.encode(pixels).latent_dist.mean
        latents = latents + 0.05 * torch.randn_like(latents)
        pictures = tensor_to_pictures(pipeline.vae.decode(latents).sample)
        soft += [Shown(one, was.attributes) for one, was in zip(pictures, some, strict=True)]
    return soft


def diffused(
    pipeline: Any, prompts: list[Prompt], settings: Settings, first_seed: int
) -> list[Shown]:
    """Return pictures that the diffusion model draws of prompts, with what the judge sees.

    Pictures that the judge is not sure of are left out.
    """
    pictures = make_pictures(pipeline, prompts, settings, first_seed)
    readings = [judge(picture) for picture in pictures]
    return [
        Shown(picture, reading.attributes)
        for picture, reading in zip(pictures, readings, strict=True)
        if reading.shape_overlap > _SURE_OVERLAP
    ]


def held_out_diffused(folder: Path, count: int, seed: int) -> list[Shown]:
    """Return pictures of held-out prompts, drawn as a horde draws by default."""
    pipeline = load_pipeline(folder)
    return diffused(pipeline, held_out_prompts(count, seed), HORDE_DEFAULTS, 10_000 + seed)


@dataclass(frozen=True)
class Pool:
    """Training pictures [count, side, side, 3] and what they show, also as indices [count, 5]."""

    pictures: NDArray[np.uint8]
    attributes: list[Attributes]
    truth: torch.Tensor

    def batch(
        self, size: int, generator: np.random.Generator
    ) -> tuple[torch.Tensor, list[Attributes], torch.Tensor]:
        """Return pixels [size, 3, side, side] in -1..1, attributes, and indices [size, 5].

        Each picture is moved a little, and half of them are mirrored.
        """
        rows = generator.integers(len(self.attributes), size=size)
        pictures = self.pictures[rows]
        attributes = [self.attributes[row] for row in rows]
        truth = self.truth[torch.from_numpy(rows)]
        for index in range(size):
            pictures[index] = _moved(pictures[index], generator)
            if generator.random() < 0.5:
                pictures[index] = pictures[index][:, ::-1]
                attributes[index] = mirrored(attributes[index])
                truth[index] = torch.tensor(attribute_indices(attributes[index]))
        return pixels_of(pictures), attributes, truth


def mirrored(attributes: Attributes) -> Attributes:
    """Return what the mirror image shows: every shape of ours is its own mirror image."""
    other = {"left": "right", "right": "left"}
    place = attributes.place
    return replace(attributes, place=None if place is None else other.get(place, place))


def _moved(picture: Picture, generator: np.random.Generator) -> Picture:
    """Return the picture moved by a few pixels; what leaves at one side comes in at the other."""
    down, across = generator.integers(-_MOVED_PIXELS_MAX, _MOVED_PIXELS_MAX + 1, size=2)
    return np.roll(picture, (int(down), int(across)), axis=(0, 1))


def pixels_of(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Return [count, 3, side, side] in -1..1 for pictures [count, side, side, 3]."""
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    return tensor / 127.5 - 1


def recoloured(pixels: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """Return pictures [batch, 3, side, side] in -1..1 with red, green and blue exchanged, and each
    of them turned into its opposite by chance."""
    changed = []
    for picture in pixels:
        order = torch.from_numpy(generator.permutation(3))
        signs = torch.from_numpy(generator.choice((-1.0, 1.0), size=3)).float()
        changed.append(picture[order] * signs[:, None, None])
    return torch.stack(changed)


def pool_of(shown: list[Shown]) -> Pool:
    """Put pictures into one block of memory."""
    return Pool(
        np.stack([one.picture for one in shown]),
        [one.attributes for one in shown],
        torch.tensor([attribute_indices(one.attributes) for one in shown]),
    )


def training_pool(shapes_folder: Path, drawn_count: int, diffused_count: int, seed: int) -> Pool:
    """Draw the training pictures: most clean, some softened, some by the diffusion model."""
    generator = np.random.default_rng([seed, 60])
    torch.manual_seed(seed + 60)
    pipeline = load_pipeline(shapes_folder)
    clean = drawn(drawn_count, generator)
    soft = drawn_count // _DRAWN_PER_SOFTENED
    shown = clean[soft:] + softened(clean[:soft], pipeline)
    prompts = trained_prompts(diffused_count, seed + 60)
    shown += diffused(pipeline, prompts, QUICK, 20_000 + seed) * _TIMES_DIFFUSED
    return pool_of([Shown(spoil(one.picture, generator), one.attributes) for one in shown])


def as_images(shown: list[Shown]) -> Iterator[Image.Image]:
    """Yield pictures as Pillow has them."""
    for one in shown:
        yield Image.fromarray(one.picture)
