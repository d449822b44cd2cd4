# SPDX-License-Identifier: AGPL-3.0-or-later
"""KoboldCpp, as its protocol's documentation has it; and what becomes of its faults."""

from collections.abc import Callable
from typing import Any

import pytest
from worker.engines.replay import replaying

from openhorde.worker.backends.base import (
    Artifact,
    Cancelled,
    Capabilities,
    JobFault,
    PictureJob,
    TextJob,
)
from openhorde.worker.backends.engine import Engine
from openhorde.worker.backends.koboldcpp import KoboldBackend
from openhorde.worker.settings import WorkerSettings, load_settings

pytestmark = pytest.mark.recorded
MODEL = "koboldcpp/tiny-tales-Q8_0"


def settings(url: str, **changes: Any) -> WorkerSettings:
    return load_settings(None, None, {"koboldcpp_url": url, "backends": ["koboldcpp"]} | changes)


def job(**changes: Any) -> TextJob:
    defaults: dict[str, Any] = {
        "id": "1",
        "model": MODEL,
        "prompt": "Once upon a time",
        "tokens_max": 16,
        "seed": 7,
    }
    return TextJob(**(defaults | changes))


def write(
    backend: KoboldBackend,
    given: TextJob | PictureJob,
    report: Callable[[int, int], None] = lambda step, steps: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Artifact:
    (artifact,) = backend.run(given, report, cancelled)
    return artifact


def full_job() -> TextJob:
    return job(
        stop_sequences=["\nYou:"],
        sampling={
            "temperature": 0.8,
            "rep_pen": 1.1,
            "rep_pen_range": 320,
            "top_a": 0.0,
            "sampler_order": [6, 0, 1, 3, 4, 2, 5],
            "singleline": True,
            "frmttriminc": True,
        },
    )


async def test_a_text_is_written_in_a_process_of_its_own() -> None:
    steps = []
    with replaying("koboldcpp_write") as server:
        password = "a password"
        flags = settings(server.url + "/api", koboldcpp_password=password)
        engine = Engine(flags, "koboldcpp")
        try:
            assert await engine.open() == Capabilities(
                text_models=[MODEL], tokens_max=4095, context_tokens_max=4096
            )
            artifacts = await engine.run(full_job(), 60, 5, lambda *step: steps.append(step))
        finally:
            await engine.close()
    assert artifacts == [Artifact(content=b" there was a circle.", media_type="text/plain", seed=7)]
    assert steps == [(1, 16), (2, 16), (3, 16)]


def test_a_cancel_is_told_so_that_the_server_stops_too() -> None:
    heard = []
    with replaying("koboldcpp_cancel") as server:
        backend = KoboldBackend(settings(server.url))
        backend.open()
        with pytest.raises(Cancelled):
            write(backend, job(), lambda *step: heard.append(step), lambda: bool(heard))


def test_faults_are_told_in_the_server_s_words_and_pass() -> None:
    reasons = []
    with replaying("koboldcpp_faults") as server:
        backend = KoboldBackend(settings(server.url))
        backend.open()
        for prompt in ("busy", "broken", "short", "junk"):
            with pytest.raises(JobFault) as fault:
                write(backend, job(prompt=prompt))
            reasons.append(str(fault.value))
        assert write(backend, job(prompt="well")).content == b" again"
    assert reasons[0] == "KoboldCpp answered 503: Server is busy; please try again later."
    assert reasons[1].startswith("KoboldCpp broke off its answer")
    assert reasons[2] == "KoboldCpp broke off its answer"
    assert reasons[3] == "KoboldCpp answered something unreadable: <html>what?</html>"


def test_a_server_without_streaming_answers_all_at_once() -> None:
    with replaying("koboldai_write") as server:
        backend = KoboldBackend(settings(server.url, koboldcpp_model="nerys"))
        capabilities = backend.open()
        assert capabilities.text_models == ["nerys"]
        assert (capabilities.tokens_max, capabilities.context_tokens_max) == (1023, 1024)
        assert write(backend, job(model="nerys")).content == b" there was a square."
        with pytest.raises(JobFault, match="answered no text"):
            write(backend, job(model="nerys"))
        with pytest.raises(JobFault, match="koboldcpp/tiny-tales-Q8_0 is not here"):
            write(backend, job())
        with pytest.raises(JobFault, match="only writes"):
            write(backend, PictureJob(id="1", model="nerys", prompt="x"))
