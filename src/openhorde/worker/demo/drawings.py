# SPDX-License-Identifier: AGPL-3.0-or-later
"""Draws the pictures that the demo model learns from: one flat shape on a flat background.

All functions are pure: what is random comes from the numpy Generator that the caller gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from openhorde.worker.demo.vocabulary import (
    COLOUR_NAMES,
    COLOURS,
    MIDDLE_PIXELS,
    PLACE_NAMES,
    RADIUS_PIXELS,
    SHAPE_NAMES,
    SIDE_PIXELS,
    SIZE_NAMES,
    Attributes,
    is_held_out,
)

# A shape is drawn this many times larger and then averaged down, which smooths its edge.
_OVERSAMPLING = 4
_MIDDLE_JITTER_PIXELS = 1.5
_RADIUS_JITTER_PIXELS = 1.0


@dataclass(frozen=True)
class Outline:
    """Where a shape lies: its middle and half of its larger side, in pixels."""

    shape: str
    middle_x_pixels: float
    middle_y_pixels: float
    radius_pixels: float


def _polygon_around(corner_count: int, radii: tuple[float, ...]) -> NDArray[np.float64]:
    """Return corners [corner_count, 2] around the origin, the first one straight up."""
    angles = np.arange(corner_count) * 2 * np.pi / corner_count
    lengths = np.resize(np.array(radii), corner_count)
    return np.stack([lengths * np.sin(angles), -lengths * np.cos(angles)], axis=1)


def _heart() -> NDArray[np.float64]:
    """Return the corners [60, 2] of a heart, point down."""
    angles = np.arange(60) * 2 * np.pi / 60
    across = 16 * np.sin(angles) ** 3
    down = -(
        13 * np.cos(angles) - 5 * np.cos(2 * angles) - 2 * np.cos(3 * angles) - np.cos(4 * angles)
    )
    return np.stack([across, down], axis=1)


def _cross(arm: float) -> NDArray[np.float64]:
    """Return the corners [12, 2] of an upright cross whose arms are 2 * arm wide."""
    quarter = np.array([[arm, -1.0], [arm, -arm], [1.0, -arm]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    quarters = [quarter]
    for _ in range(3):
        quarters.append(quarters[-1] @ turn)
    return np.concatenate(quarters)


def _fit_unit_box(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move and scale corners so that their box is centred and its larger half side is 1."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    fitted: NDArray[np.float64] = (corners - (low + high) / 2) / ((high - low).max() / 2)
    return fitted


UNIT_CORNERS: dict[str, NDArray[np.float64]] = {
    "circle": _fit_unit_box(_polygon_around(72, (1.0,))),
    "square": _fit_unit_box(np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])),
    "triangle": _fit_unit_box(_polygon_around(3, (1.0,))),
    "star": _fit_unit_box(_polygon_around(10, (1.0, 0.42))),
    "cross": _fit_unit_box(_cross(0.34)),
    "diamond": _fit_unit_box(np.array([[0.0, -1.0], [0.72, 0.0], [0.0, 1.0], [-0.72, 0.0]])),
    "heart": _fit_unit_box(_heart()),
}


def shape_coverage(outline: Outline) -> NDArray[np.float32]:
    """Return how much of each pixel the shape covers, 0 to 1, as [SIDE_PIXELS, SIDE_PIXELS]."""
    middle = np.array([outline.middle_x_pixels, outline.middle_y_pixels])
    corners = (UNIT_CORNERS[outline.shape] * outline.radius_pixels + middle) * _OVERSAMPLING
    side = SIDE_PIXELS * _OVERSAMPLING
    mask = Image.new("L", (side, side), 0)
    # Pillow takes the middle of a pixel as its whole number, hence the half.
    ImageDraw.Draw(mask).polygon([(float(x) - 0.5, float(y) - 0.5) for x, y in corners], fill=255)
    pixels = np.asarray(mask, dtype=np.float32) / 255.0
    blocks = pixels.reshape(SIDE_PIXELS, _OVERSAMPLING, SIDE_PIXELS, _OVERSAMPLING)
    coverage: NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32)
    return coverage


def paint(outline: Outline, colour: str, background: str) -> NDArray[np.uint8]:
    """Return the picture as [SIDE_PIXELS, SIDE_PIXELS, 3], red, green and blue from 0 to 255."""
    coverage = shape_coverage(outline)[:, :, None]
    front = np.array(COLOURS[colour], dtype=np.float32)
    back = np.array(COLOURS[background], dtype=np.float32)
    return np.rint(coverage * front + (1 - coverage) * back).astype(np.uint8)


def random_outline(shape: str, size: str, place: str, generator: np.random.Generator) -> Outline:
    """Return an outline for a shape of this size at this place, with a small jitter."""
    jitter_x, jitter_y = generator.uniform(-_MIDDLE_JITTER_PIXELS, _MIDDLE_JITTER_PIXELS, size=2)
    growth = generator.uniform(-_RADIUS_JITTER_PIXELS, _RADIUS_JITTER_PIXELS)
    return Outline(
        shape=shape,
        middle_x_pixels=MIDDLE_PIXELS[place] + float(jitter_x),
        middle_y_pixels=SIDE_PIXELS / 2 + float(jitter_y),
        radius_pixels=RADIUS_PIXELS[size] + float(growth),
    )


def draw(attributes: Attributes, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a picture [SIDE_PIXELS, SIDE_PIXELS, 3] of attributes that are all given."""
    if (
        attributes.colour is None
        or attributes.background is None
        or attributes.shape is None
        or attributes.size is None
        or attributes.place is None
    ):
        raise ValueError(f"cannot draw with an attribute missing: {attributes}")
    outline = random_outline(attributes.shape, attributes.size, attributes.place, generator)
    return paint(outline, attributes.colour, attributes.background)


def random_attributes(generator: np.random.Generator, held_out: bool = False) -> Attributes:
    """Return a full set of attributes, from the training combinations or from the held out ones.

    Every attribute is drawn evenly, so that a prompt that leaves one open gets any of them.
    """
    while True:
        colour, background = generator.choice(len(COLOUR_NAMES), size=2, replace=False)
        attributes = Attributes(
            colour=COLOUR_NAMES[int(colour)],
            background=COLOUR_NAMES[int(background)],
            shape=SHAPE_NAMES[int(generator.integers(len(SHAPE_NAMES)))],
            size=SIZE_NAMES[int(generator.integers(len(SIZE_NAMES)))],
            place=PLACE_NAMES[int(generator.integers(len(PLACE_NAMES)))],
        )
        if is_held_out(attributes) == held_out:
            return attributes
