# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wire's sampling words in each server's own."""

from typing import Any

import msgspec
import pytest

from openhorde.wire.text import TextSampling
from openhorde.worker.backends.openai.profiles import HEEDED, NEUTRAL, PROFILES, translate

ASKED: dict[str, Any] = {
    "rep_pen": 1.1,
    "rep_pen_range": 320,
    "rep_pen_slope": 0.7,
    "temperature": 0.8,
    "tfs": 0.9,
    "top_a": 0.1,
    "top_k": 40,
    "top_p": 0.95,
    "typical": 0.8,
    "min_p": 0.05,
    "smoothing_factor": 0.2,
    "dynatemp_range": 0.3,
    "dynatemp_exponent": 1.5,
    "sampler_order": [6, 0, 1],
    "singleline": True,
    "use_default_badwordsids": True,
    "frmttriminc": True,
    "stop_sequence": ["x"],
}
TOLD = {
    "generic": {"temperature": 0.8, "top_p": 0.95},
    "vllm": {
        "temperature": 0.8,
        "top_p": 0.95,
        "top_k": 40,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "ignore_eos": True,
    },
    "llamacpp": {
        "temperature": 0.8,
        "top_p": 0.95,
        "top_k": 40,
        "min_p": 0.05,
        "typical_p": 0.8,
        "repeat_penalty": 1.1,
        "repeat_last_n": 320,
        "dynatemp_range": 0.3,
        "dynatemp_exponent": 1.5,
        "ignore_eos": True,
    },
    "tabbyapi": {
        "temperature": 0.8,
        "top_p": 0.95,
        "top_k": 40,
        "top_a": 0.1,
        "min_p": 0.05,
        "tfs": 0.9,
        "typical": 0.8,
        "repetition_penalty": 1.1,
        "penalty_range": 320,
        "smoothing_factor": 0.2,
        "min_temp": 0.5,
        "max_temp": 1.1,
        "temp_exponent": 1.5,
        "ban_eos_token": True,
    },
    "ollama": {
        "temperature": 0.8,
        "top_p": 0.95,
        "top_k": 40,
        "min_p": 0.05,
        "typical_p": 0.8,
        "repeat_penalty": 1.1,
        "repeat_last_n": 320,
    },
}


@pytest.mark.parametrize("name", PROFILES)
def test_each_server_is_told_in_its_own_words(name: str) -> None:
    told, dropped = translate(PROFILES[name], ASKED)
    assert told == pytest.approx(TOLD[name])
    heard = set(PROFILES[name].words) | HEEDED
    if PROFILES[name].spread is not None:
        heard.add("dynatemp_range")
    assert set(dropped) == set(ASKED) - heard


def test_every_word_of_the_wire_is_known_here() -> None:
    words = {one.name for one in msgspec.structs.fields(TextSampling)}
    assert set(NEUTRAL) | HEEDED | {"temperature"} == words
    for profile in PROFILES.values():
        assert set(profile.words) <= words
        assert set(profile.zeros) <= set(profile.words)


@pytest.mark.parametrize("name", PROFILES)
def test_nobody_is_told_of_words_that_change_nothing(name: str) -> None:
    assert translate(PROFILES[name], NEUTRAL)[1] == []


@pytest.mark.parametrize(
    ("name", "word", "told"),
    [
        ("vllm", "top_k", {"top_k": -1}),
        ("llamacpp", "top_k", {"top_k": 0}),
        ("llamacpp", "rep_pen_range", {"repeat_last_n": -1}),
        ("tabbyapi", "rep_pen_range", {"penalty_range": -1}),
        ("tabbyapi", "dynatemp_range", {}),
        ("ollama", "rep_pen_range", {"repeat_last_n": -1}),
    ],
)
def test_zero_means_what_it_means_on_the_wire(name: str, word: str, told: dict[str, Any]) -> None:
    assert translate(PROFILES[name], {word: 0}) == (told, [])


def test_the_lowest_temperature_is_not_below_zero() -> None:
    told, _ = translate(PROFILES["tabbyapi"], {"temperature": 0.5, "dynatemp_range": 2.0})
    assert told == {"temperature": 0.5, "min_temp": 0.0, "max_temp": 2.5}
