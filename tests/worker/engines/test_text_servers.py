# SPDX-License-Identifier: AGPL-3.0-or-later
"""The openai backend against real engines: `transformers serve`, and llama.cpp's server."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from worker.engines.gguf_files import write_gguf
from worker.engines.text_servers import MODEL, TextServer, llama_cpp, transformers_serve
from worker.engines.tiny_text import make_text_model

from openhorde.worker.agent import events
from openhorde.worker.backends import servers
from openhorde.worker.backends.base import Artifact, Cancelled, JobFault, TextJob
from openhorde.worker.backends.engine import Engine
from openhorde.worker.backends.openai.backend import OpenAIBackend
from openhorde.worker.library.shipped import shipped
from openhorde.worker.settings import WorkerSettings, load_settings

CONTEXT_TOKENS = 8192
ENDLESS_TOKENS = 8000
GREEDY = {"temperature": 0.0, "use_default_badwordsids": True}
ENGINES = ["transformers serve", "llama.cpp"]
Starter = Callable[[str], AbstractContextManager[TextServer]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Starter:
    """Starts an engine with the tiny model."""
    folder = tmp_path_factory.mktemp("text")
    model = make_text_model(folder / "model")
    gguf_file = write_gguf(model, folder / "tiny.gguf", MODEL)

    def start_one(name: str) -> AbstractContextManager[TextServer]:
        if name == "llama.cpp":
            return llama_cpp(gguf_file, folder / "llama.log", CONTEXT_TOKENS)
        return transformers_serve(model, folder / "transformers.log")

    return start_one


@pytest.fixture(scope="module")
def engines(start: Starter) -> Iterator[dict[str, TextServer]]:
    """One of each, for tests that leave it well."""
    with start("transformers serve") as transformers, start("llama.cpp") as llama:
        yield {"transformers serve": transformers, "llama.cpp": llama}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, engines: dict[str, TextServer]) -> TextServer:
    return engines[request.param]


def settings(engine: TextServer, **changes: Any) -> WorkerSettings:
    flags = {"openai_url": engine.url, "openai_models": [MODEL], "backends": ["openai"]}
    return load_settings(None, None, flags | changes)


def opened(engine: TextServer, **changes: Any) -> OpenAIBackend:
    backend = OpenAIBackend(settings(engine, **changes))
    backend.open()
    return backend


def job(**changes: Any) -> TextJob:
    defaults: dict[str, Any] = {
        "id": "1",
        "model": MODEL,
        "prompt": "a red circle",
        "tokens_max": 24,
        "seed": 7,
    }
    return TextJob(**(defaults | changes))


def write(
    backend: OpenAIBackend,
    given: TextJob,
    report: Callable[[int, int], None] = lambda step, steps: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> str:
    (artifact,) = backend.run(given, report, cancelled)
    return artifact.content.decode()


def test_an_engine_tells_what_it_has(engine: TextServer) -> None:
    own = OpenAIBackend(settings(engine, openai_models=[])).open()
    assert own.text_models == [engine.model]
    assert own.context_tokens_max == (engine.context_tokens or 2048)
    named = OpenAIBackend(settings(engine, max_context_length=512)).open()
    assert named.text_models == [MODEL]
    assert named.context_tokens_max == (engine.context_tokens or 512)


def test_a_seed_makes_the_text(engine: TextServer) -> None:
    backend = opened(engine)
    steps: list[tuple[int, int]] = []
    first = write(backend, job(), lambda *step: steps.append(step))
    assert first
    assert write(backend, job()) == first
    assert write(backend, job(seed=8)) != first
    assert len(steps) > 4
    assert steps == sorted(steps)
    assert steps[-1][0] <= steps[-1][1] == 24


def test_the_text_has_as_many_tokens_as_asked_for(engine: TextServer) -> None:
    backend = opened(engine)
    texts = [write(backend, job(tokens_max=most, sampling=GREEDY)) for most in (8, 24)]
    assert 0 < len(texts[0]) < len(texts[1])
    # The last character may have been cut in two.
    assert texts[1].startswith(texts[0].rstrip("\N{REPLACEMENT CHARACTER}"))


def test_two_engines_write_the_same(engines: dict[str, TextServer]) -> None:
    texts = {write(opened(engine), job(sampling=GREEDY)) for engine in engines.values()}
    assert len(texts) == 1


def test_the_text_ends_before_a_stop_sequence(engine: TextServer) -> None:
    backend = opened(engine)
    whole = write(backend, job(sampling=GREEDY))
    stop = whole[8:10]
    ended = write(backend, job(sampling=GREEDY, stop_sequences=["never there", stop]))
    assert ended == whole[: whole.index(stop)]


def test_a_long_prompt_is_cut_to_what_the_engine_takes(engines: dict[str, TextServer]) -> None:
    llama = engines["llama.cpp"]
    prompt = "a green square on a white background, " * 4000
    body = {"model": MODEL, "prompt": prompt, "max_tokens": 8}
    refusal = httpx.post(f"{llama.url}/v1/completions", json=body, trust_env=False)
    assert refusal.status_code == httpx.codes.BAD_REQUEST
    backend = opened(llama)
    cut = write(backend, job(prompt=prompt, context_tokens_max=10**6, sampling=GREEDY))
    assert cut
    assert cut != write(backend, job(prompt=prompt[:500], sampling=GREEDY))


def test_a_text_that_nobody_waits_for_is_given_up(engine: TextServer) -> None:
    backend = opened(engine)
    heard: list[Any] = []
    endless = job(tokens_max=ENDLESS_TOKENS, context_tokens_max=CONTEXT_TOKENS, sampling=GREEDY)
    with pytest.raises(Cancelled):
        write(backend, endless, lambda *step: heard.append(step), lambda: bool(heard))
    assert heard[-1][0] < ENDLESS_TOKENS
    assert write(backend, job())


def test_what_an_engine_refuses_is_told_in_its_words(engine: TextServer) -> None:
    backend = opened(engine)
    with pytest.raises(JobFault, match=rf"{engine.title} answered (400|500): \w+"):
        write(backend, job(sampling={"temperature": "hot"}))
    assert write(backend, job())


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_that_is_killed_faults_the_job(
    start: Starter, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = job(tokens_max=ENDLESS_TOKENS, context_tokens_max=CONTEXT_TOKENS, sampling=GREEDY)
    with start(name) as engine:
        backend = opened(engine)
        with pytest.raises(JobFault, match=f"{engine.title} broke off its answer"):
            write(backend, endless, lambda *step: engine.kill())
        monkeypatch.setattr(servers, "RECONNECT_SECONDS_MAX", 0.0)
        with pytest.raises(JobFault, match=f"{engine.title} cannot be reached at {engine.url}"):
            write(backend, job())


@pytest.mark.parametrize("name", ENGINES)
def test_the_project_s_own_model_writes_of_its_hero(name: str, tmp_path: Path) -> None:
    folder = shipped("text")
    if name == "llama.cpp":
        gguf_file = write_gguf(folder, tmp_path / "text.gguf", MODEL)
        serving = llama_cpp(gguf_file, tmp_path / "log", 2048)
    else:
        serving = transformers_serve(folder, tmp_path / "log")
    with serving as engine:
        backend = opened(engine, max_context_length=2048)
        prompt = "Once upon a time there was a red circle."
        text = write(backend, job(prompt=prompt, tokens_max=48, sampling={"temperature": 0.0}))
    assert "circle" in text
    assert len(text.split()) > 8


async def test_an_engine_serves_through_the_worker_s_own_process(engine: TextServer) -> None:
    process = Engine(settings(engine), "openai")
    steps: list[tuple[int, int]] = []
    try:
        capabilities = await process.open()
        artifacts = await process.run(job(sampling=GREEDY), 60, 5, lambda *one: steps.append(one))
    finally:
        await process.close()
    assert capabilities.text_models == [MODEL]
    text = await asyncio.to_thread(lambda: write(opened(engine), job(sampling=GREEDY)))
    assert artifacts == [Artifact(content=text.encode(), media_type="text/plain", seed=7)]
    assert steps


async def test_a_worker_writes_with_it(engine: TextServer, horde: Any, start_worker: Any) -> None:
    ids = horde.offer_text(texts=2, model=MODEL, prompt="a red circle", stop_sequence=["\n"])
    worker = start_worker(
        backends=["openai"], openai_url=engine.url, openai_models=[MODEL], kinds=["text"]
    )
    delivered = await worker.heard(events.Delivered, 2)
    assert {one.id for one in delivered} == set(ids)
    assert horde.pops_of["text"][0]["models"] == [MODEL]
    texts = [horde.submitted(one)[0] for one in ids]
    assert [one["state"] for one in texts] == ["ok", "ok"]
    # Each is drawn from a seed of its own.
    assert texts[0]["generation"] != texts[1]["generation"]
    assert texts[0]["seed"] != texts[1]["seed"]


async def test_a_worker_whose_engine_is_killed_tells_and_lives(
    start: Starter, horde: Any, start_worker: Any
) -> None:
    lengths = {"max_length": ENDLESS_TOKENS, "max_context_length": CONTEXT_TOKENS}
    with start("llama.cpp") as engine:
        flags = {"openai_url": engine.url, "openai_models": [MODEL], "max_length": 0}
        worker = start_worker(backends=["openai", "fake"], kinds=["text"], **flags)
        await horde.until(lambda: any(MODEL in one["models"] for one in horde.pops_of["text"]))
        (first,) = horde.offer_text(model=MODEL, use_default_badwordsids=True, **lengths)
        await worker.heard(events.Progress)
        engine.kill()
        (fault,) = await worker.heard(events.Faulted)
    assert fault.id == first
    assert fault.reason.startswith("llama.cpp broke off its answer")
    assert horde.submitted(first)[0]["state"] == "faulted"
    (second,) = horde.offer_text(model="fake-writer")
    (delivered,) = await worker.heard(events.Delivered)
    assert delivered.id == second
