# SPDX-License-Identifier: AGPL-3.0-or-later
"""The small world of the demo model: its colours, shapes, sizes and places, and what is held out.

Everything here is a constant or a pure function, so the drawings, the judge, the training and the
evaluation cannot disagree about what a word means.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SIDE_PIXELS = 64

# Red, green and blue, 0 to 255. Chosen far apart, so that a reader of pixels cannot confuse two.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 25, 30),
    "orange": (250, 140, 20),
    "yellow": (250, 230, 40),
    "green": (25, 150, 60),
    "cyan": (40, 210, 225),
    "blue": (30, 60, 205),
    "purple": (130, 40, 170),
    "pink": (250, 135, 190),
    "black": (15, 15, 15),
    "white": (245, 245, 245),
}
COLOUR_NAMES = tuple(COLOURS)
SHAPE_NAMES = ("circle", "square", "triangle", "star", "cross", "diamond", "heart")
# What captions call a shape; the more often a word stands here, the more often it is taken.
SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "circle", "circle", "disc", "disk", "ball", "dot"),
    "square": ("square", "square", "square", "box"),
    "diamond": ("diamond", "diamond", "diamond", "rhombus"),
    "cross": ("cross", "cross", "cross", "plus", "plus sign"),
}
SIZE_NAMES = ("small", "large")
PLACE_NAMES = ("left", "centre", "right")

# Half of a shape's larger side, and the horizontal middle of a shape, before jitter.
RADIUS_PIXELS: dict[str, float] = {"small": 10.0, "large": 18.0}
MIDDLE_PIXELS: dict[str, float] = {"left": 20.0, "centre": 32.0, "right": 44.0}

HELD_OUT_COUNT = 63
_HELD_OUT_SEED = 20240


def subject_words() -> list[str]:
    """Return every single word that stands for a shape in the captions, each once."""
    phrases = [*SHAPE_NAMES, *(word for words in SHAPE_WORDS.values() for word in words), "shape"]
    return [word for word in dict.fromkeys(phrases) if " " not in word]


@dataclass(frozen=True)
class Attributes:
    """What a picture shows, or what a caption says: a name each, or None where it says nothing."""

    colour: str | None = None
    background: str | None = None
    shape: str | None = None
    size: str | None = None
    place: str | None = None


# The order of the attributes in the code that the text encoder learns to write.
ATTRIBUTE_CHOICES: dict[str, tuple[str, ...]] = {
    "colour": COLOUR_NAMES,
    "background": COLOUR_NAMES,
    "shape": SHAPE_NAMES,
    "size": SIZE_NAMES,
    "place": PLACE_NAMES,
}


def attribute_indices(attributes: Attributes) -> list[int]:
    """Return one index per attribute in the order of ATTRIBUTE_CHOICES; the last is "not said"."""
    indices = []
    for name, choices in ATTRIBUTE_CHOICES.items():
        value = getattr(attributes, name)
        indices.append(len(choices) if value is None else choices.index(value))
    return indices


@lru_cache(maxsize=1)
def all_combinations() -> tuple[tuple[str, str, str], ...]:
    """Return every (shape colour, shape, background colour) with two different colours."""
    return tuple(
        (colour, shape, background)
        for colour in COLOUR_NAMES
        for shape in SHAPE_NAMES
        for background in COLOUR_NAMES
        if colour != background
    )


@lru_cache(maxsize=1)
def held_out_combinations() -> frozenset[tuple[str, str, str]]:
    """Return the tenth of all combinations that no training picture and no training caption has."""
    combinations = all_combinations()
    generator = np.random.default_rng(_HELD_OUT_SEED)
    chosen = generator.permutation(len(combinations))[:HELD_OUT_COUNT]
    return frozenset(combinations[int(index)] for index in chosen)


def is_held_out(attributes: Attributes) -> bool:
    """Tell whether these attributes name a combination that training never sees."""
    return (attributes.colour, attributes.shape, attributes.background) in held_out_combinations()
