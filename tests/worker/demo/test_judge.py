# SPDX-License-Identifier: AGPL-3.0-or-later
"""The judge reads true drawings right, spoilt ones too, and is not fooled by empty ones."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from openhorde.worker.demo.drawings import Outline, draw, paint, random_attributes
from openhorde.worker.demo.judge import agrees, judge, nearest_colour
from openhorde.worker.demo.vocabulary import COLOURS, SIDE_PIXELS, Attributes


@pytest.mark.parametrize("held_out", [False, True])
def test_true_drawings_are_read_right(held_out: bool) -> None:
    generator = np.random.default_rng(11)
    count = 300
    right = 0
    for _ in range(count):
        attributes = random_attributes(generator, held_out)
        reading = judge(draw(attributes, generator))
        right += reading.attributes == attributes
        assert reading.shape_overlap > 0.8
    assert right >= 0.99 * count


def test_blurred_and_noisy_drawings_are_still_read_right() -> None:
    generator = np.random.default_rng(12)
    count = 150
    right = 0
    for _ in range(count):
        attributes = random_attributes(generator)
        blurred = Image.fromarray(draw(attributes, generator)).filter(ImageFilter.GaussianBlur(0.7))
        noise = generator.normal(0, 8, size=(SIDE_PIXELS, SIDE_PIXELS, 3))
        spoilt = np.clip(np.asarray(blurred) + noise, 0, 255).astype(np.uint8)
        right += judge(spoilt).attributes == attributes
    assert right >= 0.95 * count


@pytest.mark.parametrize("colour", list(COLOURS))
def test_an_empty_picture_has_a_background_and_no_shape(colour: str) -> None:
    picture = np.full((SIDE_PIXELS, SIDE_PIXELS, 3), COLOURS[colour], dtype=np.uint8)
    reading = judge(picture)
    assert reading.attributes == Attributes(background=colour)
    assert reading.shape_overlap == 0.0


def test_pure_noise_is_no_clean_shape() -> None:
    generator = np.random.default_rng(13)
    noise = generator.integers(0, 256, size=(SIDE_PIXELS, SIDE_PIXELS, 3)).astype(np.uint8)
    assert judge(noise).shape_overlap < 0.6


def test_the_place_is_that_of_the_shape() -> None:
    for place, middle in (("left", 19.0), ("centre", 33.0), ("right", 45.0)):
        picture = paint(Outline("star", middle, 32.0, 17.0), "white", "purple")
        assert judge(picture).attributes.place == place


def test_the_nearest_colour_takes_slips_in_shade() -> None:
    assert nearest_colour(np.array([200.0, 40.0, 40.0], dtype=np.float32)) == "red"
    assert nearest_colour(np.array([230.0, 230.0, 235.0], dtype=np.float32)) == "white"


def test_agreement_asks_only_for_what_is_wanted() -> None:
    seen = Attributes("red", "blue", "circle", "small", "left")
    assert agrees(Attributes(colour="red"), seen, ("colour", "place"))
    assert not agrees(Attributes(colour="red", place="right"), seen, ("colour", "place"))
    assert agrees(Attributes(colour="red", place="right"), seen, ("colour",))
