# SPDX-License-Identifier: AGPL-3.0-or-later
"""The openai backend: what it finds out about a server, and how it asks each kind."""

from typing import Any

import pytest
import structlog
from worker.engines.scripted import completion, models
from worker.engines.writing_backends import COMPLETIONS, job, opened, plain, settings, write

from openhorde.worker.backends.base import Capabilities, JobFault, PictureJob
from openhorde.worker.backends.openai.backend import OpenAIBackend


def test_a_text_comes_piece_by_piece() -> None:
    steps = []
    lines = [": a comment keeps the line open", "", *completion(" upon", " a", " time", " çš")]
    with opened(plain(lines)) as (server, backend, capabilities):
        assert capabilities == Capabilities(
            text_models=["tiny"], tokens_max=2047, context_tokens_max=2048
        )
        assert write(backend, job(), lambda *step: steps.append(step)) == " upon a time çš"
    assert steps == [(1, 16), (2, 16), (3, 16), (4, 16)]
    assert server.bodies("/v1/completions") == [
        {"model": "tiny", "prompt": "Once", "max_tokens": 16, "seed": 7, "stream": True}
    ]


def test_a_seed_is_drawn_when_none_is_asked_for() -> None:
    with opened(plain(completion("x"))) as (server, backend, _):
        (artifact,) = backend.run(job(seed=None), lambda *_: None, lambda: False)
        (huge,) = backend.run(job(seed=2**40 + 5), lambda *_: None, lambda: False)
    seeds = [body["seed"] for body in server.bodies("/v1/completions")]
    assert seeds == [artifact.seed, 5]
    assert huge.seed == 2**40 + 5


@pytest.mark.parametrize(
    ("answers", "title", "context_tokens"),
    [
        ({("GET", "/v1/models"): models("m-1", owner="vllm", max_model_len=3000)}, "vLLM", 3000),
        (
            {
                ("GET", "/v1/models"): models("m-1", owner="llamacpp"),
                ("GET", "/props"): {"default_generation_settings": {"n_ctx": 1024}},
            },
            "llama.cpp",
            1024,
        ),
        (
            {
                ("GET", "/v1/models"): models("m-1"),
                ("GET", "/props"): {"default_generation_settings": {"n_ctx": 1024}},
            },
            "llama.cpp",
            1024,
        ),
        (
            {
                ("GET", "/v1/models"): models("m-1", owner="tabbyAPI"),
                ("GET", "/v1/model"): {"id": "m-1", "parameters": {"max_seq_len": 8192}},
            },
            "TabbyAPI",
            8192,
        ),
        (
            {
                ("GET", "/v1/models"): models("m-1", owner="library"),
                ("POST", "/api/show"): {"model_info": {"llama.context_length": 131072}},
            },
            "Ollama",
            4096,
        ),
        (
            {
                ("GET", "/v1/models"): models("m-1"),
                ("GET", "/api/version"): {"version": "0.12.0"},
                ("POST", "/api/show"): {
                    "model_info": {"llama.context_length": 131072},
                    "parameters": 'stop "x"\nnum_ctx   16384',
                },
            },
            "Ollama",
            16384,
        ),
        ({("GET", "/v1/models"): models("m-1")}, "the text server", 2048),
    ],
)
def test_a_server_is_known_by_what_it_answers(
    answers: dict[tuple[str, str], Any], title: str, context_tokens: int
) -> None:
    with opened(answers) as (_, backend, capabilities):
        assert capabilities.context_tokens_max == context_tokens
        with pytest.raises(JobFault) as fault:
            write(backend, job(model="m-1"))
    assert str(fault.value) == f"{title} answered 404: Not Found"


def test_a_model_is_offered_under_the_owner_s_name_for_it() -> None:
    answers = plain(completion("x"), owner="vllm", max_model_len=1000)
    changes = {"max_context_length": 3000, "openai_models": ["org/tiny-1B"]}
    with opened(answers, **changes) as (server, backend, capabilities):
        assert capabilities == Capabilities(
            text_models=["org/tiny-1B"], tokens_max=999, context_tokens_max=1000
        )
        assert write(backend, job(model="org/tiny-1B", tokens_max=100)) == "x"
        with pytest.raises(JobFault, match="the model tiny is not here"):
            write(backend, job())
        with pytest.raises(JobFault, match="vLLM only writes"):
            backend.run(PictureJob(id="1", model="x", prompt="x"), lambda *_: None, lambda: False)
    (body,) = server.bodies("/v1/completions")
    assert (body["model"], body["truncate_prompt_tokens"]) == ("tiny", 900)


def test_models_are_renamed_and_a_wrong_name_is_told() -> None:
    answers = {("GET", "/v1/models"): models("first", "second"), COMPLETIONS: completion("x")}
    with opened(answers, openai_models=["first", "big=second"]) as (server, backend, capabilities):
        assert capabilities.text_models == ["first", "big"]
        write(backend, job(model="big"))
        assert server.bodies("/v1/completions")[0]["model"] == "second"
        wrong = OpenAIBackend(settings(backend._server.url, openai_models=["third"]))
        with pytest.raises(
            RuntimeError, match=r"openai_models: .* no model 'third'.*first, second"
        ):
            wrong.open()


def tokenising(encode: str, decode: str, decoded: str, text: str) -> dict[tuple[str, str], Any]:
    """A tokeniser whose tokens are the codes of characters."""
    return {
        ("POST", encode): lambda body: {"tokens": [ord(one) for one in body[text]]},
        ("POST", decode): lambda body: {decoded: "".join(map(chr, body["tokens"]))},
    }


@pytest.mark.parametrize(
    ("owner", "more"),
    [
        ("llamacpp", tokenising("/tokenize", "/detokenize", "content", "content")),
        ("me", tokenising("/extras/tokenize", "/extras/detokenize", "text", "input")),
        ("tabbyAPI", tokenising("/v1/token/encode", "/v1/token/decode", "text", "text")),
    ],
)
def test_a_long_prompt_keeps_its_end(owner: str, more: dict[tuple[str, str], Any]) -> None:
    prompt = "0123456789" * 30
    answers = plain(completion("x"), owner=owner) | more
    with opened(answers) as (server, backend, _):
        for length in (40, 100, 300):
            write(backend, job(prompt=prompt[:length], context_tokens_max=124))
    prompts = [body["prompt"] for body in server.bodies("/v1/completions")]
    assert prompts == [prompt[:40], prompt[:100], prompt[-100:]]


def test_without_a_tokeniser_the_length_is_estimated() -> None:
    with opened(plain(completion("x"))) as (server, backend, _):
        write(backend, job(prompt="0123456789" * 100, context_tokens_max=124))
    assert len(server.bodies("/v1/completions")[0]["prompt"]) == 300


def test_ollama_is_asked_in_its_own_way() -> None:
    lines = ['{"response": " upon", "done": false}', '{"response": "", "done": true}']
    answers = {
        ("GET", "/v1/models"): models("tiny:latest", owner="library"),
        ("POST", "/api/show"): {"model_info": {"llama.context_length": 131072}},
        ("POST", "/api/generate"): lines,
    }
    changes = {"max_context_length": 32768, "openai_models": ["tiny=tiny:latest"]}
    with opened(answers, **changes) as (server, backend, capabilities):
        assert capabilities.context_tokens_max == 32768
        sampling = {"temperature": 0.8, "min_p": 0.1, "rep_pen_range": 0}
        given = job(stop_sequences=["\n"], sampling=sampling, context_tokens_max=512)
        assert write(backend, given) == " upon"
        server.answers[("POST", "/api/generate")] = lines[:1]
        with pytest.raises(JobFault, match="Ollama broke off its answer"):
            write(backend, job())
        server.answers[("POST", "/api/generate")] = ['{"error": "model runner has stopped"}']
        with pytest.raises(JobFault, match="Ollama failed while it wrote: model runner has"):
            write(backend, job())
    assert server.bodies("/api/generate")[0] == {
        "model": "tiny:latest",
        "prompt": "Once",
        "raw": True,
        "stream": True,
        "options": {
            "num_predict": 16,
            "num_ctx": 32768,
            "seed": 7,
            "temperature": 0.8,
            "min_p": 0.1,
            "repeat_last_n": -1,
            "stop": ["\n"],
        },
    }


def test_words_that_the_server_does_not_know_are_told_once() -> None:
    with (
        opened(plain(completion("x"))) as (_, backend, _),
        structlog.testing.capture_logs() as logs,
    ):
        for tfs in (0.5, 1.0, 0.7):
            write(backend, job(sampling={"tfs": tfs, "rep_pen": 1.2, "min_p": 0.0}))
    assert [one["words"] for one in logs if "words" in one] == [["rep_pen", "tfs"]]


@pytest.mark.parametrize("told", [True, False])
def test_a_text_ends_at_a_stop_sequence(told: bool) -> None:
    pieces = [" one", "\nY", "ou: two", " three"] if not told else [" one"]
    with opened(plain(completion(*pieces))) as (server, backend, _):
        assert write(backend, job(stop_sequences=["\nYou:", "###"])) == " one"
        assert write(backend, job(sampling={"singleline": True})) == " one"
    stops = [body["stop"] for body in server.bodies("/v1/completions")]
    assert stops == [["\nYou:", "###"], ["\n"]]
