# SPDX-License-Identifier: AGPL-3.0-or-later
"""The drawings, their captions and the tokens are what they say they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openhorde.worker.demo.captions import (
    HELD_OUT_TEMPLATES,
    known_words,
    random_caption,
    write_caption,
)
from openhorde.worker.demo.drawings import (
    UNIT_CORNERS,
    Outline,
    draw,
    paint,
    random_attributes,
    shape_coverage,
)
from openhorde.worker.demo.prompts import held_out_prompts, plain_prompt, trained_prompts
from openhorde.worker.demo.tokens import write_tokenizer
from openhorde.worker.demo.vocabulary import (
    ATTRIBUTE_CHOICES,
    COLOURS,
    HELD_OUT_COUNT,
    SHAPE_NAMES,
    SIDE_PIXELS,
    Attributes,
    all_combinations,
    attribute_indices,
    held_out_combinations,
    is_held_out,
)


def test_a_picture_has_the_asked_colours_at_its_border_and_in_its_middle() -> None:
    outline = Outline("circle", 32.0, 32.0, 12.0)
    picture = paint(outline, "red", "blue")
    assert picture.shape == (SIDE_PIXELS, SIDE_PIXELS, 3)
    assert picture.dtype == np.uint8
    assert tuple(picture[0, 0]) == COLOURS["blue"]
    assert tuple(picture[32, 32]) == COLOURS["red"]


def test_a_circle_covers_the_area_of_a_circle() -> None:
    coverage = shape_coverage(Outline("circle", 32.0, 32.0, 15.0))
    assert float(coverage.sum()) == pytest.approx(np.pi * 15.0**2, rel=0.01)


@pytest.mark.parametrize("shape", SHAPE_NAMES)
def test_every_shape_fits_its_box_and_is_the_same_mirrored(shape: str) -> None:
    corners = UNIT_CORNERS[shape]
    assert np.abs(corners).max() == pytest.approx(1.0)
    coverage = shape_coverage(Outline(shape, 32.0, 32.0, 16.0))
    assert float(np.abs(coverage - coverage[:, ::-1]).mean()) < 0.01


def test_an_edge_is_smooth() -> None:
    coverage = shape_coverage(Outline("square", 32.0, 32.0, 10.5))
    assert 0.2 < float(coverage[21, 32]) < 0.8


def test_the_same_generator_draws_the_same() -> None:
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(5):
        one, other = random_attributes(first), random_attributes(second)
        assert one == other
        assert np.array_equal(draw(one, first), draw(other, second))
        assert random_caption(one, first) == random_caption(other, second)


def test_drawing_with_an_attribute_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="missing"):
        draw(Attributes("red", "blue", "circle", "small", None), np.random.default_rng(0))


def test_a_tenth_of_the_combinations_is_held_out_and_names_every_colour_and_shape() -> None:
    held_out = held_out_combinations()
    assert len(held_out) == HELD_OUT_COUNT == len(all_combinations()) // 10
    assert {shape for _, shape, _ in held_out} == set(SHAPE_NAMES)
    assert {colour for colour, _, _ in held_out} == set(COLOURS)
    assert {background for _, _, background in held_out} == set(COLOURS)


def test_training_never_sees_a_held_out_combination() -> None:
    generator = np.random.default_rng(0)
    seen = [random_attributes(generator) for _ in range(6000)]
    assert not any(is_held_out(attributes) for attributes in seen)
    combinations = {(one.colour, one.shape, one.background) for one in seen}
    assert len(combinations) == len(all_combinations()) - HELD_OUT_COUNT
    colour, shape, background = min(held_out_combinations())
    held_out = Attributes(colour, background, shape, "small", "left")
    with pytest.raises(ValueError, match="held-out"):
        random_caption(held_out, generator)


def test_evaluation_prompts_are_held_out_and_their_twins_are_not() -> None:
    assert all(is_held_out(prompt.wanted) for prompt in held_out_prompts(100, 0))
    assert not any(is_held_out(prompt.wanted) for prompt in trained_prompts(100, 0))
    assert {prompt.kind for prompt in held_out_prompts(9, 0)} == {
        "plain",
        "varied wording",
        "new wording",
    }


def test_the_plain_prompt_reads_as_people_write() -> None:
    wanted = Attributes("red", "blue", "circle", "large", "left")
    assert plain_prompt(wanted).text == "a large red circle on the left on a blue background"


def test_a_caption_says_what_it_states_and_nothing_else() -> None:
    generator = np.random.default_rng(1)
    stated = Attributes("red", "blue", "triangle", None, None)
    for _ in range(200):
        words = write_caption(stated, generator).lower()
        assert "red" in words
        assert "blue" in words
        assert "triangle" in words
        for other in (*COLOURS, *SHAPE_NAMES, "large", "left", "right", "small"):
            if other not in ("red", "blue", "triangle"):
                assert f" {other} " not in f" {words} "


def test_captions_leave_attributes_open_and_some_say_nothing() -> None:
    generator = np.random.default_rng(2)
    stated = [random_caption(random_attributes(generator), generator)[1] for _ in range(500)]
    for name in ATTRIBUTE_CHOICES:
        assert any(getattr(one, name) is None for one in stated)
        assert any(getattr(one, name) is not None for one in stated)
    assert Attributes() in stated


def test_attribute_indices_end_in_not_said() -> None:
    assert attribute_indices(Attributes()) == [
        len(choices) for choices in ATTRIBUTE_CHOICES.values()
    ]
    assert attribute_indices(Attributes(colour="red"))[0] == 0


def test_every_known_word_is_one_token_and_any_text_has_tokens(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path, known_words())
    for word in known_words():
        assert len(tokenizer.tokenize(word)) == 1
    assert tokenizer.tokenize("RED Circle") == tokenizer.tokenize("red circle")
    for text in ("日本語", "zebra 42 ☃", "naïve\n\tline"):
        tokens = tokenizer.tokenize(text)
        assert tokens
        assert tokenizer.unk_token not in tokens


def test_held_out_templates_use_only_known_words() -> None:
    known = set(known_words())
    for template in HELD_OUT_TEMPLATES:
        text = template.format(c="red", s="star", b="blue").lower()
        letters = "".join(letter if letter.isalpha() else " " for letter in text)
        assert set(letters.split()) <= known
