# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads from a picture's pixels what it shows. Pure functions, no network involved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from openhorde.worker.demo.drawings import Outline, shape_coverage
from openhorde.worker.demo.vocabulary import (
    COLOUR_NAMES,
    COLOURS,
    MIDDLE_PIXELS,
    RADIUS_PIXELS,
    SHAPE_NAMES,
    SIDE_PIXELS,
    Attributes,
)

_BORDER_PIXELS = 2
# Fewer pixels than this are a stain, not a shape: the smallest drawn one has about 100.
_SMALLEST_SHAPE_PIXELS = 40
# A pixel this far from the background (of 441, black to white) is not background.
_CLEARLY_DIFFERENT = 40.0
_REFERENCE_RADIUS_PIXELS = 20.0


@dataclass(frozen=True)
class Reading:
    """What a picture shows.

    shape_overlap is the share, 0 to 1, of the union of the shape found and the ideal one that
    both cover. Attributes are None where there is no shape.
    """

    attributes: Attributes
    shape_overlap: float


def nearest_colour(pixel: NDArray[np.float32]) -> str:
    """Return the name of the colour nearest to a pixel [3] in 0..255."""
    table = np.array(list(COLOURS.values()), dtype=np.float32)
    return COLOUR_NAMES[int(np.square(table - pixel).sum(axis=1).argmin())]


def border_pixel(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median [3] of the pixels along the border of [side, side, 3]."""
    border = np.ones(picture.shape[:2], dtype=bool)
    border[_BORDER_PIXELS:-_BORDER_PIXELS, _BORDER_PIXELS:-_BORDER_PIXELS] = False
    median: NDArray[np.float32] = np.median(picture[border], axis=0).astype(np.float32)
    return median


def _find_shape(
    picture: NDArray[np.float32], background: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]] | None:
    """Return which pixels [side, side] are the shape and its median pixel [3], None if no shape."""
    from_background = np.linalg.norm(picture - background, axis=2)
    strongest = float(np.sort(from_background, axis=None)[-_SMALLEST_SHAPE_PIXELS])
    if strongest < _CLEARLY_DIFFERENT:
        return None
    front: NDArray[np.float32] = np.median(
        picture[from_background > 0.6 * strongest], axis=0
    ).astype(np.float32)
    mask: NDArray[np.bool_] = np.linalg.norm(picture - front, axis=2) < from_background
    if int(mask.sum()) < _SMALLEST_SHAPE_PIXELS:
        return None
    return mask, front


def _area_and_middle(mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return the area in pixels and the centre of gravity (x, y) in pixels of a mask."""
    rows, columns = mask.nonzero()
    return float(len(rows)), float(columns.mean()) + 0.5, float(rows.mean()) + 0.5


@lru_cache(maxsize=len(SHAPE_NAMES))
def _unit_measures(shape: str) -> tuple[float, float]:
    """Return a shape's area at radius 1, and how far its gravity centre is under its middle."""
    middle = SIDE_PIXELS / 2
    outline = Outline(shape, middle, middle, _REFERENCE_RADIUS_PIXELS)
    area, _, gravity_y = _area_and_middle(shape_coverage(outline) > 0.5)
    radius = _REFERENCE_RADIUS_PIXELS
    return area / radius**2, (gravity_y - middle) / radius


def _overlap(mask: NDArray[np.bool_], shape: str) -> tuple[float, float]:
    """Return how well a shape of the same area at the same place covers a mask, and its radius."""
    area, gravity_x, gravity_y = _area_and_middle(mask)
    unit_area, unit_drop = _unit_measures(shape)
    radius = (area / unit_area) ** 0.5
    outline = Outline(shape, gravity_x, gravity_y - unit_drop * radius, radius)
    ideal = shape_coverage(outline) > 0.5
    union = int((mask | ideal).sum())
    return int((mask & ideal).sum()) / union, radius


def _nearest_name(value: float, choices: dict[str, float]) -> str:
    return min(choices, key=lambda name: abs(choices[name] - value))


def judge(picture: NDArray[np.uint8]) -> Reading:
    """Read a picture [SIDE_PIXELS, SIDE_PIXELS, 3], red, green and blue from 0 to 255."""
    pixels = picture.astype(np.float32)
    back = border_pixel(pixels)
    found = _find_shape(pixels, back)
    if found is None:
        return Reading(Attributes(background=nearest_colour(back)), 0.0)
    mask, front = found
    overlaps = {shape: _overlap(mask, shape) for shape in SHAPE_NAMES}
    shape = max(overlaps, key=lambda name: overlaps[name][0])
    overlap, radius = overlaps[shape]
    _, gravity_x, _ = _area_and_middle(mask)
    attributes = Attributes(
        colour=nearest_colour(front),
        background=nearest_colour(back),
        shape=shape,
        size=_nearest_name(radius, RADIUS_PIXELS),
        place=_nearest_name(gravity_x, MIDDLE_PIXELS),
    )
    return Reading(attributes, overlap)


def agrees(wanted: Attributes, seen: Attributes, names: tuple[str, ...]) -> bool:
    """Tell whether every named attribute that is wanted is also seen."""
    return all(
        getattr(wanted, name) is None or getattr(wanted, name) == getattr(seen, name)
        for name in names
    )
