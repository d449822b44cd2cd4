# SPDX-License-Identifier: AGPL-3.0-or-later
"""The openai backend when a server hangs, breaks off, answers junk, goes away or wants a key."""

from typing import Any

import pytest
from starlette.responses import Response
from worker.engines.replay import serving
from worker.engines.scripted import Scripted, completion, models
from worker.engines.writing_backends import COMPLETIONS, job, opened, plain, settings, write

from openhorde.worker.backends import messages, servers
from openhorde.worker.backends.base import Cancelled, EngineLost, JobFault
from openhorde.worker.backends.engine import Engine, EngineDied
from openhorde.worker.backends.openai.backend import OpenAIBackend

KEY = "sk-nobody-may-see-this"


def test_a_cancel_hangs_up() -> None:
    heard = []
    with opened(plain(completion("a", "b")[:4])) as (server, backend, _):
        server.hangs = True
        with pytest.raises(Cancelled):
            write(backend, job(), lambda *step: heard.append(step), lambda: bool(heard))
        assert server.hung_up.wait(60)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            Response('{"error": {"message": "too  long\\nby far"}}', 400),
            "answered 400: too long by",
        ),
        (
            Response('{"detail": [{"loc": ["x"], "msg": "bad seed"}]}', 422),
            "answered 422: bad seed",
        ),
        (Response("<html>oops</html>", 502), "answered 502: <html>oops</html>"),
        (Response("", 500), "answered 500: nothing"),
        (Response("", 302, {"location": "http://127.0.0.1:1/"}), "answered 302"),
        (["data: {'no': json}", ""], "answered something unreadable: {'no': json}"),
        (["data: [1]", ""], "answered something unreadable"),
        (['data: {"choices": [{"text": 5}]}', ""], "a choice without text"),
        (['data: {"choices": {"text": "x"}}', ""], "a choice without text"),
        (['data: {"error": {"message": "out of memory"}}', ""], "while it wrote: out of memory"),
        (['error: {"code": 500, "message": "no slot"}', ""], "while it wrote: no slot"),
        (completion("a", "b")[:4], "broke off its answer"),
        ([], "broke off its answer"),
    ],
)
def test_what_a_server_does_wrong_is_the_reason(answer: Any, reason: str) -> None:
    with opened(plain(answer)) as (server, backend, _):
        with pytest.raises(JobFault) as fault:
            write(backend, job())
        assert str(fault.value).startswith("the text server ")
        assert reason in str(fault.value)
        server.answers[COMPLETIONS] = completion("well again")
        assert write(backend, job()) == "well again"


def test_a_connection_that_breaks_is_the_reason() -> None:
    with opened(plain(completion("a", "b")[:4])) as (server, backend, _):
        server.breaks_off = True
        with pytest.raises(JobFault, match="the text server broke off its answer"):
            write(backend, job())


@pytest.mark.parametrize("line", ["data: " + "x" * 500, ": ping\n" * 100])
def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(servers, "STREAM_BYTES_MAX", 400)
    with opened(plain([line])) as (_, backend, _), pytest.raises(JobFault, match="more than 400 b"):
        write(backend, job())


def test_a_server_that_is_started_again_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "RECONNECT_PAUSE_SECONDS", 0.01)
    with opened(plain(completion("x"))) as (server, backend, _):
        port = int(backend._server.url.rpartition(":")[2])
    again = serving(server, port)
    started: list[str] = []

    def cancelled() -> bool:
        if not started:
            started.append(again.__enter__())
        return False

    try:
        assert write(backend, job(), cancelled=cancelled) == "x"
    finally:
        again.__exit__(None, None, None)
    monkeypatch.setattr(servers, "RECONNECT_SECONDS_MAX", 0.0)
    with pytest.raises(EngineLost, match=f"cannot be reached at http://127.0.0.1:{port}"):
        write(backend, job())


def test_a_server_that_still_loads_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LOADING_PAUSE_SECONDS", 0.01)
    loading = [Response('{"error": {"message": "Loading model"}}', 503)] * 2
    answers = plain(completion("x"))
    ready = answers[("GET", "/v1/models")]
    answers[("GET", "/v1/models")] = lambda body: loading.pop() if loading else ready
    with opened(answers) as (_, _, capabilities):
        assert capabilities.text_models == ["tiny"]
        assert loading == []


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (Response("<html>"), "answered something that is not JSON at /v1/models: <html>"),
        ({"data": "none"}, "answered no list of models"),
        (Response("[]"), "answered no list of models"),
        (models(), "has no model to offer"),
        (Response('{"error": "nope"}', 500), "answered 500: nope"),
    ],
)
def test_a_server_without_models_cannot_be_opened(answer: Any, complaint: str) -> None:
    with (
        serving(Scripted({("GET", "/v1/models"): answer})) as url,
        pytest.raises(RuntimeError, match=complaint),
    ):
        OpenAIBackend(settings(url)).open()


async def test_a_server_that_stays_away_ends_the_engine_s_process() -> None:
    with serving(Scripted(plain(completion("x")))) as url:
        engine = Engine(settings(url), "openai")
        await engine.open()
    with pytest.raises(JobFault, match=f"cannot be reached at {url}"):
        await engine.run(job(), 60, 5, lambda *_: None)
    assert "status 75" in await engine.ended()


def test_an_address_that_leads_nowhere_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "RECONNECT_SECONDS_MAX", 0.0)
    with serving(Scripted({})) as url:
        pass
    with pytest.raises(RuntimeError, match=f"cannot be reached at {url}"):
        OpenAIBackend(settings(url + "/v1/")).open()
    with pytest.raises(RuntimeError, match="openai_url: 'ftp://x' is not an http or https"):
        OpenAIBackend(settings("ftp://x")).open()


async def test_the_key_reaches_the_process_and_no_message() -> None:
    server = Scripted(plain(completion(" upon a time")))
    server.key = KEY
    with serving(server) as url:
        good = Engine(settings(url, openai_api_key=KEY), "openai")
        wrong = Engine(settings(url, openai_api_key=KEY + "x"), "openai")
        try:
            capabilities = await good.open()
            (artifact,) = await good.run(job(), 60, 5, lambda *_: None)
            with pytest.raises(EngineDied) as died:
                await wrong.open()
        finally:
            await good.close()
            await wrong.close()
    assert capabilities.text_models == ["tiny"]
    assert artifact.content == b" upon a time"
    assert "401: Invalid API Key" in str(died.value)
    assert KEY not in str(died.value)
    assert KEY not in repr(settings(url, openai_api_key=KEY))


@pytest.mark.parametrize(
    ("pieces", "written"),
    [
        (("a ", "\ud83d", "\ude00", " b"), "a \U0001f600 b"),
        (("a ", "\ud83d"), "a \ufffd"),
        (("\ude00", " b"), "\ufffd b"),
    ],
)
def test_an_emoji_that_comes_in_pieces_is_put_together(
    pieces: tuple[str, ...], written: str
) -> None:
    with opened(plain(completion(*pieces))) as (_, backend, _):
        assert write(backend, job()) == written


def test_bytes_of_an_emoji_that_come_one_by_one_are_put_together() -> None:
    lines = [
        line
        for byte in "\U0001f600".encode()
        for line in (b'data: {"choices": [{"text": "' + bytes([byte]) + b'"}]}', b"")
    ]
    body = b"\n".join([*lines, *(line.encode() for line in completion("!"))]) + b"\n"
    with opened(plain(Response(body, media_type="text/event-stream"))) as (_, backend, _):
        assert write(backend, job()) == "\U0001f600!"


def test_half_an_emoji_in_a_fault_does_not_end_the_engine_s_process() -> None:
    reason = 'error: {"code": 500, "message": "no \\ud83d slot"}'
    with opened(plain([reason, ""])) as (_, backend, _), pytest.raises(JobFault) as fault:
        write(backend, job())
    assert "no \ufffd slot" in str(fault.value)
    faulted = messages.Faulted("1", "no \ud83d slot")
    read = messages.from_engine(messages.frame(faulted)[messages.LENGTH_BYTES :])
    assert read == messages.Faulted("1", "no \ufffd slot")
