# SPDX-License-Identifier: AGPL-3.0-or-later
"""Texts: lengths, stops, seeds, contexts, cancels."""

from typing import Any

import pytest
from open_engine import OpenEngine

from openhorde.worker.backends.base import Cancelled, JobFault
from openhorde.worker.backends.transformers.sampling import translate

GREEDY = {"temperature": 0}


def test_a_story_is_continued_about_its_hero(engine: OpenEngine) -> None:
    text = engine.write(tokens_max=60, sampling=GREEDY)
    assert "circle" in text
    assert not text.startswith("Once")


def test_at_most_as_many_tokens_are_written_as_asked(engine: OpenEngine) -> None:
    engine.write(tokens_max=16)
    assert engine.steps == [(step, 16) for step in range(17)]


def test_a_seed_gives_the_same_text_and_another_one_another(engine: OpenEngine) -> None:
    first = engine.write(seed=5, tokens_max=40)
    assert engine.write(seed=5, tokens_max=40) == first
    assert any(engine.write(seed=seed, tokens_max=40) != first for seed in (6, 7, 8))


def test_without_a_seed_the_one_drawn_is_told(engine: OpenEngine) -> None:
    from openhorde.worker.backends.base import TextJob

    job = TextJob(id="one", model=engine.capabilities.text_models[0], prompt="A", tokens_max=16)
    (artifact,) = engine.backend.run(job, lambda step, steps: None, lambda: False)
    assert artifact.content.decode() == engine.write(prompt="A", tokens_max=16, seed=artifact.seed)


def test_a_text_ends_before_a_stop_sequence(engine: OpenEngine) -> None:
    whole = engine.write(tokens_max=60, sampling=GREEDY)
    stop = whole[10:22]
    text = engine.write(tokens_max=60, sampling=GREEDY, stop_sequences=["not there", stop])
    assert text == whole[: whole.index(stop)]
    assert len(engine.steps) < 60


def test_a_single_line_ends_with_the_line(engine: OpenEngine) -> None:
    prompt = "Picture: a red circle on a blue background.\nQuestion: What colour is the circle?\n"
    text = engine.write(prompt=prompt, sampling=GREEDY | {"singleline": True})
    assert "\n" not in text
    assert "red" in text


def test_a_long_prompt_loses_its_beginning(engine: OpenEngine) -> None:
    ending = "Once upon a time there was a red circle."
    long = "The blue star was very sleepy. " * 400 + ending
    cut = engine.write(prompt=long, sampling=GREEDY, context_tokens_max=80, tokens_max=40)
    assert engine.steps[-1][0] <= 40
    shorter = "The blue star was very sleepy. " * 100 + ending
    assert cut == engine.write(
        prompt=shorter, sampling=GREEDY, context_tokens_max=80, tokens_max=40
    )


def test_an_empty_prompt_begins_a_text(engine: OpenEngine) -> None:
    assert engine.write(prompt="").strip()


def test_text_of_any_bytes_is_read(engine: OpenEngine) -> None:
    assert isinstance(engine.write(prompt="日本語 \x00 🟥 \ufeff"), str)


def test_an_answer_that_fills_the_context_is_shortened(engine: OpenEngine) -> None:
    for prompt, prompt_tokens in (("Once upon a time " * 40, 16), ("", 1)):
        assert engine.write(prompt=prompt, tokens_max=80, context_tokens_max=80)
        assert engine.steps[-1][1] in (80 - prompt_tokens, 80)


def test_a_model_that_is_not_here_is_named(engine: OpenEngine) -> None:
    with pytest.raises(JobFault, match="the model gpt-7 is not here"):
        engine.write(model="gpt-7")


def test_a_cancel_is_heard_after_the_token_being_written(engine: OpenEngine) -> None:
    with pytest.raises(Cancelled):
        engine.write(lambda: len(engine.steps) > 3, tokens_max=200)
    assert engine.steps[-1][0] == 3


def test_much_context_does_not_make_it_lose_its_head(engine: OpenEngine) -> None:
    prompt = "A circle has no corners. " * 200 + "Once upon a time there was a red circle."
    text = engine.write(prompt=prompt, sampling=GREEDY, tokens_max=60)
    assert "circle" in text


@pytest.mark.parametrize(
    ("wished", "arguments", "stops", "left_out"),
    [
        ({}, {"do_sample": True}, [], []),
        (
            {"temperature": 0, "top_p": 0.5, "rep_pen": 1.2},
            {"do_sample": False, "repetition_penalty": 1.2},
            [],
            [],
        ),
        (
            {"temperature": 0.7, "top_k": 0, "top_p": 0.9, "min_p": 0.1, "typical": 1},
            {
                "do_sample": True,
                "temperature": 0.7,
                "top_k": 0,
                "top_p": 0.9,
                "min_p": 0.1,
                "typical_p": 1.0,
            },
            [],
            [],
        ),
        ({"typical": 0, "min_p": 0.0}, {"do_sample": True, "typical_p": 1.0}, [], []),
        ({"singleline": True}, {"do_sample": True}, ["\n"], []),
        (
            {
                "tfs": 1,
                "top_a": 0,
                "smoothing_factor": 0.0,
                "dynatemp_range": 0.0,
                "dynatemp_exponent": 1.0,
                "singleline": False,
                "frmtrmblln": False,
            },
            {"do_sample": True},
            [],
            [],
        ),
        (
            {"tfs": 0.9, "sampler_order": [6, 0], "smoothing_factor": 1.5},
            {"do_sample": True},
            [],
            ["tfs", "sampler_order", "smoothing_factor"],
        ),
    ],
)
def test_the_wires_words_are_translated(
    wished: dict[str, Any], arguments: dict[str, Any], stops: list[str], left_out: list[str]
) -> None:
    told = translate(wished)
    assert told.arguments == arguments
    assert told.stop_sequences == stops
    assert told.left_out == left_out


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "typical": 0.9, "min_p": 0.05},
        {"rep_pen": 1.3, "temperature": 1.5},
        {"top_k": 0, "typical": 0, "top_p": 1, "tfs": 0.9, "sampler_order": [6, 0, 1]},
        {"temperature": 0.0, "top_p": 0.5},
    ],
)
def test_sampling_of_every_sort_writes(engine: OpenEngine, sampling: dict[str, Any]) -> None:
    assert engine.write(sampling=sampling).strip()
