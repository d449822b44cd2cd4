# SPDX-License-Identifier: AGPL-3.0-or-later
"""What each server calls the wire's sampling words, and how else it differs. Data; no calls."""

from typing import Any, Literal

from msgspec import Struct, field

NEUTRAL: dict[str, Any] = {
    "rep_pen": 1.0,
    "rep_pen_range": 0,
    "rep_pen_slope": 0.0,
    "tfs": 1.0,
    "top_a": 0.0,
    "top_k": 0,
    "top_p": 1.0,
    "typical": 1.0,
    "min_p": 0.0,
    "smoothing_factor": 0.0,
    "dynatemp_range": 0.0,
    "dynatemp_exponent": 1.0,
    "singleline": False,
    "use_default_badwordsids": False,
    "frmtadsnsp": False,
    "frmtrmblln": False,
    "frmtrmspch": False,
    "frmttriminc": False,
    "sampler_order": [],
}
"""Values that change nothing: nobody need be told when a server does not know such a word."""

HEEDED = {"singleline", "stop_sequence"}
"""Words that the worker sees to itself, whatever the server knows."""


class Tokeniser(Struct, frozen=True):
    """Where a server counts tokens: its paths, and its words for a text going in and out."""

    encode: str
    text: str
    decode: str
    decoded: str


class Profile(Struct, kw_only=True, frozen=True):
    """One kind of server.

    `words`: the wire's word -> the server's. `zeros`: what the server wants where the wire says 0.
    `spread`: its words for the lowest and highest temperature, if dynamic temperature is told so.
    `truncate`: its word for the most tokens of a prompt. `tokenisers`: tried in their order.
    `owners`: what it calls itself in `owned_by` of its list of models.
    """

    title: str
    api: Literal["completions", "ollama"] = "completions"
    words: dict[str, str] = field(default_factory=dict)
    zeros: dict[str, int] = field(default_factory=dict)
    spread: tuple[str, str] | None = None
    truncate: str | None = None
    tokenisers: tuple[Tokeniser, ...] = ()
    owners: tuple[str, ...] = ()


PROFILES = {
    "generic": Profile(
        title="the text server",
        words={"temperature": "temperature", "top_p": "top_p"},
    ),
    "vllm": Profile(
        title="vLLM",
        words={
            "temperature": "temperature",
            "top_p": "top_p",
            "top_k": "top_k",
            "min_p": "min_p",
            "rep_pen": "repetition_penalty",
            "use_default_badwordsids": "ignore_eos",
        },
        zeros={"top_k": -1},
        truncate="truncate_prompt_tokens",
        owners=("vllm",),
    ),
    "llamacpp": Profile(
        title="llama.cpp",
        words={
            "temperature": "temperature",
            "top_p": "top_p",
            "top_k": "top_k",
            "min_p": "min_p",
            "typical": "typical_p",
            "rep_pen": "repeat_penalty",
            "rep_pen_range": "repeat_last_n",
            "dynatemp_range": "dynatemp_range",
            "dynatemp_exponent": "dynatemp_exponent",
            "use_default_badwordsids": "ignore_eos",
        },
        zeros={"rep_pen_range": -1},
        tokenisers=(
            Tokeniser("/tokenize", "content", "/detokenize", "content"),
            Tokeniser("/extras/tokenize", "input", "/extras/detokenize", "text"),
        ),
        owners=("llamacpp", "me"),
    ),
    "tabbyapi": Profile(
        title="TabbyAPI",
        words={
            "temperature": "temperature",
            "top_p": "top_p",
            "top_k": "top_k",
            "top_a": "top_a",
            "min_p": "min_p",
            "tfs": "tfs",
            "typical": "typical",
            "rep_pen": "repetition_penalty",
            "rep_pen_range": "penalty_range",
            "smoothing_factor": "smoothing_factor",
            "dynatemp_exponent": "temp_exponent",
            "use_default_badwordsids": "ban_eos_token",
        },
        zeros={"rep_pen_range": -1, "typical": 1},
        spread=("min_temp", "max_temp"),
        tokenisers=(Tokeniser("/v1/token/encode", "text", "/v1/token/decode", "text"),),
        owners=("tabbyapi",),
    ),
    "ollama": Profile(
        title="Ollama",
        api="ollama",
        words={
            "temperature": "temperature",
            "top_p": "top_p",
            "top_k": "top_k",
            "min_p": "min_p",
            "typical": "typical_p",
            "rep_pen": "repeat_penalty",
            "rep_pen_range": "repeat_last_n",
        },
        zeros={"rep_pen_range": -1},
        owners=("library",),
    ),
}


def translate(profile: Profile, sampling: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The sampling in the server's words; and the wire's words that it does not know and that
    would have changed something."""
    told: dict[str, Any] = {}
    dropped = []
    for word, value in sampling.items():
        if word in HEEDED:
            continue
        if word == "dynatemp_range" and profile.spread is not None:
            told |= _spread(profile.spread, sampling)
        elif word in profile.words:
            zero = profile.zeros.get(word)
            told[profile.words[word]] = zero if zero is not None and not value else value
        elif word not in NEUTRAL or value != NEUTRAL[word]:
            dropped.append(word)
    return told, dropped


def _spread(words: tuple[str, str], sampling: dict[str, Any]) -> dict[str, float]:
    """The range around the temperature by its two ends; nothing when there is no range."""
    distance = sampling["dynatemp_range"]
    if not distance:
        return {}
    middle = sampling.get("temperature", 1.0)
    return {words[0]: max(0.0, middle - distance), words[1]: middle + distance}
