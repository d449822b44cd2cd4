# SPDX-License-Identifier: AGPL-3.0-or-later
"""The worker and the client take apart what servers, engines and files say in time linear in it."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from growth.inputs import TEXTS, Repeated
from growth.measure import SIZES, grows_too_fast
from rich.console import Console
from rich.table import Table

from openhorde.cli.screen import escape
from openhorde.client.errors import HordeError
from openhorde.client.transport import LineCut, NoStream, Transport
from openhorde.incoming import answers
from openhorde.incoming.texts import (
    TextRefused,
    decode_json,
    decode_text,
    encode_json,
    mended,
)
from openhorde.server.domain import faults
from openhorde.server.domain.webhooks import Attempt, judge
from openhorde.server.kit.clock import SystemClock
from openhorde.wire.requests import RequestStatus
from openhorde.worker.backends.base import Adapter, Embedding, TextJob
from openhorde.worker.backends.comfyui.workflows import fill, read_templates
from openhorde.worker.backends.diffusers.adapters import Adapted, _word
from openhorde.worker.backends.openai.answers import CompletionReader, OllamaReader
from openhorde.worker.backends.servers import EngineError, Server, said
from openhorde.worker.backends.texts import Writing
from openhorde.worker.fields import SettingsError
from openhorde.worker.library.adapters import choose_trigger, fetched_name, find_adapter
from openhorde.worker.library.subject import Subject
from openhorde.worker.settings import load_settings

NOW = SystemClock().now()
PART_BYTES = 16
"""So little of a stream comes at a time."""
NAME_CHARACTERS_MAX = 255
"""The wire's bound on names."""
REFUSING = (
    *(ValueError, EngineError, HordeError, LineCut, NoStream, RecursionError),
    *(RuntimeError, SettingsError, TextRefused),
)
STREAMS = [
    *map(
        partial(Repeated, ""), ("a", "\n", "\r", "\r\n", ":", "data:\n", "id: a\n\n", "data: a\n\n")
    ),
    Repeated("data: ", "a", "\n\n"),
    Repeated("", "data: a\n", "\n\n"),
    Repeated("", 'data: {"choices": [{"text": "a"}]}\n\n', "data: [DONE]\n\n"),
    Repeated("", '{"response": "a"}\n', '{"response": "", "done": true}'),
    Repeated('{"response": "', "a", '"}'),
]
JSON_TEXTS = [
    *TEXTS,
    Repeated('{"generations": [', "{},", "{}]}"),
    Repeated('{"message": "', "\\\\", '"}'),
    Repeated('{"message": "', r"\ud83d", '"}'),
    Repeated('{"errors": {"', "a.", '": ""}}'),
    Repeated('{"generations": [', "null,", "null]}"),
    Repeated("\ufeff", "[],"),
    Repeated("[" * 100, "1,"),
    Repeated('{"error":' * 100, "[1,"),
]
SETTINGS = [
    Repeated("", "a"),
    Repeated("", "#"),
    Repeated("", "["),
    Repeated("", "- "),
    Repeated("", "? "),
    Repeated('"', "\\a"),
    Repeated("worker_name: ", "9"),
    Repeated("worker_name: &a [", "a, ", "a]"),
    Repeated("priority_usernames: [", "a#1, ", "a#1]"),
    Repeated("models_to_load:\n", "- top 1\n"),
    Repeated("dreamer_name: ", "a b "),
    Repeated("dreamer_name: '", "''"),
    Repeated("", "a", ": 1"),
]
PYTHON = [
    Repeated("a = ", "("),
    Repeated("a = ", "-", "1"),
    Repeated("a = ", "1+", "1"),
    Repeated("a = ", "9"),
    Repeated("a = ", "'a' "),
    Repeated("a = '", "\\\n", "'"),
    Repeated("a = [", "1,", "]"),
    Repeated("a = ", "not ", "1"),
    Repeated("", "a = ", "1"),
    Repeated("", "a\n"),
    Repeated("", "\t"),
    Repeated("", "# "),
    Repeated("'''", "a"),
]


class Parts(httpx.AsyncByteStream):
    """A body that comes little by little."""

    def __init__(self, text: str) -> None:
        self._body = text.encode("utf-8", "replace")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), PART_BYTES):
            yield self._body[at : at + PART_BYTES]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have all clients get one answer, whatever they ask."""

    def answer(status: int, text: str, media_type: str = "application/json") -> None:
        def handle(_: httpx.Request) -> httpx.Response:
            return httpx.Response(status, headers={"Content-Type": media_type}, stream=Parts(text))

        made = partial(answers.bounded_client, transport=httpx.MockTransport(handle))
        for place in ("client.transport", "worker.backends.servers"):
            monkeypatch.setattr(f"openhorde.{place}.bounded_client", made)

    return answer


def stumbled(
    read: Callable[[str], object], texts: list[Repeated], sizes: tuple[int, ...] = SIZES
) -> list[Repeated]:
    """Those of the texts that take more time than they should."""

    def tried(text: str) -> None:
        with contextlib.suppress(*REFUSING):
            read(text)

    return [text for text in texts if grows_too_fast(tried, text.of, sizes)]


async def followed(text: str) -> None:
    """A stream of events, as the client hears it."""
    async with Transport("http://horde", "", "growth") as transport:
        async for _ in transport.events("generate/events", ""):
            pass


async def called(text: str) -> None:
    """An answer to a call, as the client reads it."""
    async with Transport("http://horde", "", "growth") as transport:
        await transport.call(RequestStatus, "GET", "generate/status/1")


def test_streams_of_the_horde(answering: Callable[..., None]) -> None:
    def follow(text: str) -> None:
        answering(200, text, "text/event-stream")
        asyncio.run(followed(text))

    assert stumbled(follow, STREAMS) == []


@pytest.mark.parametrize("status", [200, 400])
def test_answers_of_the_horde(answering: Callable[..., None], status: int) -> None:
    def call(text: str) -> None:
        answering(status, text)
        try:
            asyncio.run(called(text))
        except HordeError as error:
            error.explain()

    assert stumbled(call, JSON_TEXTS[-8:]) == []


def writing(stops: int) -> Writing:
    """Of a job with so many stop sequences."""
    sequences = [f"{'a' * 8}{number}" for number in range(stops)]
    job = TextJob(id="1", model="a", prompt="", tokens_max=512, stop_sequences=sequences)
    return Writing(job, lambda done, steps: None, lambda: False)


@pytest.mark.parametrize("reader", [CompletionReader, OllamaReader])
def test_streams_of_engines(answering: Callable[..., None], reader: Any) -> None:
    def follow(text: str) -> None:
        answering(200, text)
        taking = reader("engine", writing(2))
        Server("engine", "http://engine").stream("/", {}, taking.take, lambda: None)

    assert stumbled(follow, STREAMS) == []


def test_answers_of_engines(answering: Callable[..., None]) -> None:
    def refuse(text: str) -> None:
        answering(500, text)
        Server("engine", "http://engine").stream("/", {}, lambda line: True, lambda: None)

    assert stumbled(refuse, STREAMS[:1]) == []
    assert stumbled(lambda text: said(text.encode("utf-8", "replace")), JSON_TEXTS) == []


@pytest.mark.parametrize("stops", [0, 4])
def test_texts_that_come_piece_by_piece(stops: int) -> None:
    def write(text: str) -> None:
        written = writing(stops)
        for at in range(0, len(text), 4):
            written.add(text[at : at + 4])
        written.artifact()

    assert stumbled(write, [Repeated("", "a"), Repeated("", "\U0001f600")]) == []


def test_retry_after() -> None:
    def read(text: str) -> None:
        value = text.encode("latin-1", "replace")
        answers.retry_after_seconds(httpx.Response(429, headers={b"Retry-After": value}), 60.0)

    def judged(text: str) -> None:
        attempt = Attempt(status=503, retry_after=text)
        judge(attempt, attempts=1, created_at=NOW, now=NOW, chance=0.5)

    dates = [Repeated("", "Mon, "), Repeated("Mon, 1 Jan 2001 ", "1:"), Repeated("", "1 Jan ")]
    assert stumbled(read, [*TEXTS, *dates]) == []
    assert stumbled(judged, [*TEXTS, *dates]) == []


CLEANERS: dict[str, Callable[[str], object]] = {
    "mended": mended,
    "encode_json": lambda text: encode_json([text, {text: text}]),
    "decode_json": lambda text: decode_json(text.encode("utf-8", "surrogatepass")),
    "decode_text": lambda text: decode_text(text.encode("utf-8", "surrogatepass"), "it"),
    "decode_text, cut": lambda text: decode_text(text.encode("utf-16-le", "replace")[1:], "it"),
    "subject": Subject(words=["fox"], hint="Ask for a fox.").hint_for,
    "stated reason": lambda text: faults.stated_reason([{"type": "information", "ref": text}]),
}


@pytest.mark.parametrize("name", CLEANERS)
def test_cleaners(name: str) -> None:
    halves = [Repeated("", "\ud83d"), Repeated("", "\udc00"), Repeated("", "\udc80a")]
    assert stumbled(CLEANERS[name], [*JSON_TEXTS, *halves]) == []


def test_what_the_command_line_shows() -> None:
    def show(text: str) -> None:
        console = Console(file=io.StringIO(), highlight=False)
        console.print(f"[bold]{escape(text)}[/]", soft_wrap=True)

    def list_it(text: str) -> None:
        table = Table("name")
        table.add_row(escape(text))
        Console(file=io.StringIO(), highlight=False).print(table)

    texts = [*TEXTS, Repeated("", "\\", "[a"), Repeated("", "[a"), Repeated("", r"\\[b]")]
    assert stumbled(escape, texts) == []
    assert stumbled(show, texts[-3:]) == []
    assert stumbled(list_it, [Repeated("", "a"), Repeated("", "a ")], SIZES[:2]) == []


def test_what_a_refusal_explains() -> None:
    def explain(text: str) -> None:
        HordeError(400, text, text, {text: text, "params.steps": text}).explain({})

    assert stumbled(explain, TEXTS) == []


@pytest.mark.parametrize(("ending", "texts"), [("yaml", SETTINGS), ("py", PYTHON)])
def test_settings(tmp_path: Path, ending: str, texts: list[Repeated]) -> None:
    path = tmp_path / f"bridgeData.{ending}"

    def load(text: str) -> None:
        path.write_text(text)
        load_settings(path, {}, {}, lambda word: None)

    assert stumbled(load, texts) == []


def test_names_of_adapters(tmp_path: Path) -> None:
    def choose(text: str) -> None:
        choose_trigger([text], text[:NAME_CHARACTERS_MAX])
        choose_trigger(text.split(","), text[:NAME_CHARACTERS_MAX])

    def find(text: str) -> None:
        fetched_name(text, is_version=True)
        find_adapter("loras", text, False, tmp_path, tmp_path)

    def word(text: str) -> None:
        embedding = Embedding(name=text[:NAME_CHARACTERS_MAX], inject="prompt")
        _word(Adapted(text, text), embedding, "<ti0>")

    assert [stumbled(read, TEXTS) for read in (choose, find, word)] == [[], [], []]


def test_workflows(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    loras = [Adapter(name="a"), Adapter(name="b")]

    def read(workflow: str) -> None:
        path.write_text('{"task": "txt2img", "workflow": ' + workflow + "}")
        template = read_templates(tmp_path)[0]
        fill(template, dict.fromkeys(template.slots, "a"), loras)

    def node(inputs: str) -> str:
        return '{"1": {"class_type": "a", "inputs": {"a": "{{prompt}}{{seed}}", "b": ' + inputs

    texts = [
        Repeated(node('"'), "{{", '"}}}'),
        Repeated(node('"'), "{{a", '"}}}'),
        Repeated(node('"{{'), "a", '"}}}'),
        Repeated(node('"'), "{{prompt}}", '"}}}'),
        Repeated(node("["), '"{{model}}",', '"a"]}}}'),
        Repeated(node("[" * 100), "0,", "0" + "]" * 100 + "}}}"),
        Repeated(
            '{"0": {"class_type": "a", "inputs": {"ckpt_name": "{{model}}"', ', "a": ["0", 0]'
        ),
    ]

    def many(size: int) -> str:
        one = {"class_type": "a", "inputs": {"a": "{{prompt}}{{seed}}", "b": ["0", 1]}}
        count = size // len(json.dumps(one))
        return json.dumps({str(number): one for number in range(count)})

    assert stumbled(read, texts) == []
    assert not grows_too_fast(read, many)
