# SPDX-License-Identifier: AGPL-3.0-or-later
"""Prompts to measure the model with: combinations and wordings that training never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openhorde.worker.demo.captions import HELD_OUT_TEMPLATES, write_caption
from openhorde.worker.demo.drawings import random_attributes
from openhorde.worker.demo.vocabulary import (
    PLACE_NAMES,
    SIZE_NAMES,
    Attributes,
    held_out_combinations,
)

_PLACE_WORDS = {"left": "on the left", "centre": "in the centre", "right": "on the right"}


@dataclass(frozen=True)
class Prompt:
    """A prompt, what it asks for, and which kind of wording it is."""

    text: str
    wanted: Attributes
    kind: str


def plain_prompt(wanted: Attributes) -> Prompt:
    """Return the plain wording, such as "a large red circle on the left on a blue background"."""
    size = "" if wanted.size is None else f"{wanted.size} "
    place = "" if wanted.place is None else f" {_PLACE_WORDS[wanted.place]}"
    text = f"a {size}{wanted.colour} {wanted.shape}{place} on a {wanted.background} background"
    return Prompt(text, wanted, "plain")


def _new_wording(wanted: Attributes, generator: np.random.Generator) -> Prompt:
    template = HELD_OUT_TEMPLATES[int(generator.integers(len(HELD_OUT_TEMPLATES)))]
    text = template.format(c=wanted.colour, s=wanted.shape, b=wanted.background)
    if wanted.place is not None:
        text = f"{text.rstrip('.!')}, {_PLACE_WORDS[wanted.place]}"
    without_size = Attributes(wanted.colour, wanted.background, wanted.shape, None, wanted.place)
    return Prompt(text, without_size, "new wording")


def _random_wanted(combination: tuple[str, str, str], generator: np.random.Generator) -> Attributes:
    colour, shape, background = combination
    size = SIZE_NAMES[int(generator.integers(len(SIZE_NAMES)))]
    place = PLACE_NAMES[int(generator.integers(len(PLACE_NAMES)))]
    return Attributes(
        colour=colour,
        background=background,
        shape=shape,
        size=size if generator.random() < 0.5 else None,
        place=place if generator.random() < 0.7 else None,
    )


def _in_some_wording(wanted: Attributes, index: int, generator: np.random.Generator) -> Prompt:
    if index % 3 == 0:
        return plain_prompt(wanted)
    if index % 3 == 1:
        return Prompt(write_caption(wanted, generator), wanted, "varied wording")
    return _new_wording(wanted, generator)


def held_out_prompts(count: int, seed: int) -> list[Prompt]:
    """Return prompts over the held-out combinations, a third in wordings never trained on."""
    generator = np.random.default_rng([seed, 77])
    combinations = sorted(held_out_combinations())
    order = [int(index) for index in generator.permutation(len(combinations))]
    chosen = [combinations[order[index % len(order)]] for index in range(count)]
    return [
        _in_some_wording(_random_wanted(combination, generator), index, generator)
        for index, combination in enumerate(chosen)
    ]


def trained_prompts(count: int, seed: int) -> list[Prompt]:
    """Return prompts over combinations that training did see, for comparison."""
    generator = np.random.default_rng([seed, 78])
    prompts = []
    for index in range(count):
        seen = random_attributes(generator)
        assert seen.colour is not None
        assert seen.shape is not None
        assert seen.background is not None
        wanted = _random_wanted((seen.colour, seen.shape, seen.background), generator)
        prompts.append(_in_some_wording(wanted, index, generator))
    return prompts
