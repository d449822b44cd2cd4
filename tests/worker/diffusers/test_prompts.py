# SPDX-License-Identifier: AGPL-3.0-or-later
"""Weights, long prompts and clip skip, as the embeddings show them."""

from typing import Any

import pytest
import torch

from openhorde.worker.backends.diffusers.prompts import condition
from openhorde.worker.backends.diffusers.weights import WEIGHT_MAX, Piece, parse


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a red circle", [("a red circle", 1)]),
        ("", []),
        ("a (red:1.2) circle", [("a ", 1), ("red", 1.2), (" circle", 1)]),
        ("a (red: .5 ) circle", [("a ", 1), ("red", 0.5), (" circle", 1)]),
        ("(red)", [("red", 1.1)]),
        ("((red))", [("red", 1.21)]),
        ("[red]", [("red", 1 / 1.1)]),
        ("[(red)]", [("red", 1)]),
        ("(a (b:2) c:1.5)", [("a ", 1.5), ("b", 3), (" c", 1.5)]),
        ("(a (b:2):1.5)", [("a ", 1.5), ("b", 3)]),
        ("((b:2:1.2))", [("b:2", 1.32)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(a:-2)", [("a", -2)]),
        ("(a:1e9)", [("a:1e9", 1.1)]),
        ("(a:99) (b:-99)", [("a", WEIGHT_MAX), (" ", 1), ("b", -WEIGHT_MAX)]),
        (r"\(not\) \[this\]", [("(not) [this]", 1)]),
        (r"a\b", [(r"a\b", 1)]),
        ("sad :( face", [("sad :( face", 1)]),
        ("too many)) ]", [("too many)) ]", 1)]),
        ("(a]b)", [("a]b", 1.1)]),
        ("[a:1.5]", [("a:1.5", 1 / 1.1)]),
    ],
)
def test_brackets_are_weights(prompt: str, pieces: list[tuple[str, float]]) -> None:
    parsed: list[Any] = [(piece.text, piece.weight) for piece in parse(prompt)]
    assert parsed == [(text, pytest.approx(weight)) for text, weight in pieces]


def test_no_depth_of_brackets_is_too_deep() -> None:
    assert parse("(" * 5000 + "a" + ")" * 5000) == [Piece("a", WEIGHT_MAX)]
    assert parse("(" * 5000) == [Piece("(" * 5000)]


def embedded(pipeline: Any, prompt: str) -> torch.Tensor:
    return condition(pipeline, prompt, "", 1, False).prompt[0]


@pytest.mark.parametrize("model", ["tiny", "tiny-xl"])
def test_a_weight_moves_its_words_and_no_others(studio: Any, model: str) -> None:
    pipeline = studio.model(model).from_text
    plain, nothing = embedded(pipeline, "abc d e"), embedded(pipeline, "")
    for weight in (0.0, 0.5, 1.5, -1.0):
        weighted = embedded(pipeline, f"abc (d:{weight}) e")
        # Letters are tokens here, and one stands at the front: a b c are 1 to 3, d is 4.
        assert torch.equal(weighted[:4], plain[:4])
        assert torch.equal(weighted[5:], plain[5:])
        distance = (plain - nothing)[4]
        assert torch.allclose((weighted - nothing)[4], distance * weight, atol=1e-5)


def test_weights_reach_the_picture_and_the_negative_prompt_has_them_too(studio: Any) -> None:
    plain = studio.content()
    assert studio.content(prompt="a (red:1.5) circle") != plain
    assert studio.content(prompt="a (red:1.0) circle") == plain
    assert studio.content(negative_prompt="(blue:1.5)") != plain


def test_a_weight_holds_beyond_the_first_chunk(studio: Any) -> None:
    pipeline = studio.model("tiny").from_text
    far = "x " * 100
    plain, weighted = embedded(pipeline, f"{far} d"), embedded(pipeline, f"{far} (d:2)")
    assert plain.shape == weighted.shape == (154, 16)
    changed = [index for index, row in enumerate(plain == weighted) if not bool(row.all())]
    # 75 words and what is around them are the first chunk; 25 more, and d, are in the second.
    assert changed == [77 + 1 + 25]


def test_both_prompts_are_made_equally_long(studio: Any) -> None:
    pipeline = studio.model("tiny").from_text
    made: Any = condition(pipeline, "a", "x " * 200, 1, True)
    assert made.prompt.shape == made.negative.shape == (1, 77 * 3, 16)


@pytest.mark.parametrize("skip", [1, 2, 3])
def test_clip_skip_is_one_more_than_that_of_diffusers(studio: Any, skip: int) -> None:
    pipeline = studio.model("tiny").from_text
    ids = pipeline.tokenizer("abc", padding="max_length", max_length=77, return_tensors="pt")
    states = pipeline.text_encoder(ids.input_ids, output_hidden_states=True).hidden_states
    # Diffusers counts layers to leave out, the horde which one to take, from the end.
    left_out = skip - 1
    inner = getattr(pipeline.text_encoder, "text_model", pipeline.text_encoder)
    expected = inner.final_layer_norm(states[-(left_out + 1)])
    taken = condition(pipeline, "abc", "", skip, False).prompt
    assert torch.allclose(taken, expected, atol=1e-5)


def test_clip_skip_of_xl_begins_at_the_layer_before_the_last(studio: Any) -> None:
    pipeline = studio.model("tiny-xl").from_text
    ids = pipeline.tokenizer("abc", padding="max_length", max_length=77, return_tensors="pt")
    states = pipeline.text_encoder(ids.input_ids, output_hidden_states=True).hidden_states
    taken = condition(pipeline, "abc", "", 2, False).prompt[..., :16]
    assert torch.allclose(taken, states[-3], atol=1e-5)
