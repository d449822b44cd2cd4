# SPDX-License-Identifier: AGPL-3.0-or-later
"""An engine that is a server of its own: asked over HTTP, within bounds of bytes and time.

The address is the owner's word; that it is private is normal. Redirects are not followed, and
proxies of the environment are not used.
"""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import structlog

from openhorde.incoming.answers import (
    AnswerRefused,
    bounded_blocking_client,
    bounded_client,
)
from openhorde.incoming.texts import decode_json, mended
from openhorde.worker.backends.base import EngineLost, JobFault

T = TypeVar("T")

CONNECT_SECONDS_MAX = 5.0
ASK_SECONDS_MAX = 30.0
SILENCE_SECONDS_MAX = 900.0
PULSE_SECONDS = 0.2
RECONNECT_SECONDS_MAX = 10.0
RECONNECT_PAUSE_SECONDS = 0.5
LOADING_SECONDS_MAX = 600.0
LOADING_PAUSE_SECONDS = 2.0
JSON_BYTES_MAX = 64 << 20
STREAM_BYTES_MAX = 16 << 20
FILE_BYTES_MAX = 256 << 20
SAID_CHARACTERS_MAX = 300

log = structlog.get_logger(__name__)


class EngineError(Exception):
    """What an engine did instead of answering well; the message names the engine.

    `status` is the HTTP status, if it was that.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(EngineError):
    """Nobody listens there."""


@contextlib.contextmanager
def faulting_jobs() -> Iterator[None]:
    """Inside, what an engine does wrong is the fault of the job; when nobody listens any more the
    engine is lost."""
    try:
        yield
    except Unreachable as error:
        raise EngineLost(str(error)) from error
    except EngineError as error:
        raise JobFault(str(error)) from error


@contextlib.contextmanager
def refusing_to_open() -> Iterator[None]:
    """Inside, what an engine does wrong is why it cannot be opened."""
    try:
        yield
    except EngineError as error:
        raise RuntimeError(str(error)) from error


def engine_url(setting: str, given: str, *endings: str) -> str:
    """The address without a slash or one of `endings` at its end.

    Raises RuntimeError, naming the setting, when it is not an http or https address.
    """
    parts = urlsplit(given.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RuntimeError(f"{setting}: {given!r} is not an http or https address")
    url = given.strip().rstrip("/")
    for ending in endings:
        url = url.removesuffix(ending).rstrip("/")
    return url


class Server:
    """One engine's server. `name` is how its faults are told; `key` goes into no message."""

    def __init__(self, name: str, url: str, key: str = "") -> None:
        self.name = name
        self.url = url
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._options: dict[str, Any] = {
            "base_url": url,
            "headers": headers,
            "timeout": httpx.Timeout(ASK_SECONDS_MAX, connect=CONNECT_SECONDS_MAX),
            "trust_env": False,
            "follow_redirects": False,
            "verify": ssl.create_default_context(),
        }

    def get(self, path: str, **query: str) -> Any:
        """What a GET answers, as JSON. Raises EngineError."""
        return self._read_json(path, self.ask("GET", path, params=query or None))

    def post(self, path: str, body: Any) -> Any:
        """What a POST of JSON answers, as JSON. Raises EngineError."""
        return self._read_json(path, self.ask("POST", path, json=body))

    def file(self, path: str, **query: str) -> bytes:
        """What a GET answers, as it is, up to FILE_BYTES_MAX. Raises EngineError."""
        return self.ask("GET", path, FILE_BYTES_MAX, params=query)

    def ask(self, method: str, path: str, bytes_max: int = JSON_BYTES_MAX, **request: Any) -> bytes:
        """The body of a good answer. Raises EngineError for any other, or a longer one."""
        with (
            self._told(path),
            bounded_blocking_client(bytes_max, **self._options) as client,
            client.stream(method, path, **request) as response,
        ):
            content = response.read()
            self._check(response.status_code, content)
            return content

    def stream(
        self, path: str, body: Any, take: Callable[[str], bool], pulse: Callable[[], None]
    ) -> None:
        """Post JSON and hand the answer to `take` line by line, until that says it has enough.

        `pulse` is called several times a second, however silent the engine is; whatever `take` or
        `pulse` raises hangs up. Raises EngineError when the answer is bad or too long, or the
        connection breaks.
        """
        asyncio.run(self._pulsing(self._stream(path, body, take), pulse))

    def patiently(self, doing: Callable[[], T], pulse: Callable[[], None]) -> T:
        """What `doing` answers. While nobody listens it is tried again for a little, with a `pulse`
        between, for an engine that is just being started anew should cost nobody a job."""
        deadline = time.monotonic() + RECONNECT_SECONDS_MAX
        while True:
            try:
                return doing()
            except Unreachable:
                if time.monotonic() > deadline:
                    raise
            pulse()
            time.sleep(RECONNECT_PAUSE_SECONDS)

    def loaded(self, doing: Callable[[], T]) -> T:
        """What `doing` answers, once the engine listens and has loaded its model; until then it
        answers 503."""
        return self.patiently(lambda: self._loaded(doing), lambda: None)

    def _loaded(self, doing: Callable[[], T]) -> T:
        deadline = time.monotonic() + LOADING_SECONDS_MAX
        while True:
            try:
                return doing()
            except EngineError as error:
                if error.status != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                    raise
                log.info("waiting for the engine to load its model", said=str(error))
            time.sleep(LOADING_PAUSE_SECONDS)

    async def _pulsing(self, doing: Coroutine[Any, Any, None], pulse: Callable[[], None]) -> None:
        task = asyncio.create_task(doing)
        try:
            while not task.done():
                await asyncio.wait((task,), timeout=PULSE_SECONDS)
                pulse()
            task.result()
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def _stream(self, path: str, body: Any, take: Callable[[str], bool]) -> None:
        pending = bytearray()
        timeout = httpx.Timeout(SILENCE_SECONDS_MAX, connect=CONNECT_SECONDS_MAX)
        options = self._options | {"timeout": timeout}
        with self._told(path):
            async with (
                bounded_client(STREAM_BYTES_MAX, **options) as client,
                client.stream("POST", path, json=body) as response,
            ):
                async for chunk in response.aiter_bytes():
                    pending += chunk
                    # Without this, a line that comes in small parts would be copied for each.
                    if response.status_code != httpx.codes.OK or b"\n" not in chunk:
                        continue
                    *lines, rest = bytes(pending).split(b"\n")
                    pending = bytearray(rest)
                    for line in lines:
                        if take(line.decode("utf-8", "surrogateescape").rstrip("\r")):
                            return
                self._check(response.status_code, bytes(pending))
                if pending:
                    take(pending.decode("utf-8", "surrogateescape"))

    @contextlib.contextmanager
    def _told(self, path: str) -> Iterator[None]:
        """Inside, what goes wrong on the way is told as the engine's error."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(f"{self.name} cannot be reached at {self.url}: {error}") from error
        except httpx.TimeoutException as error:
            raise EngineError(f"{self.name} did not answer in time at {path}") from error
        except AnswerRefused as error:
            raise EngineError(f"{self.name} at {path}: {error}") from error
        except httpx.TransportError as error:
            raise EngineError(f"{self.name} broke off its answer: {error}") from error

    def _check(self, status: int, content: bytes) -> None:
        if status != httpx.codes.OK:
            raise EngineError(f"{self.name} answered {status}: {said(content)}", status)

    def _read_json(self, path: str, content: bytes) -> Any:
        try:
            return decode_json(content)
        except ValueError as error:
            raise EngineError(
                f"{self.name} answered something that is not JSON at {path}: {said(content)}"
            ) from error


def said(content: bytes | Any) -> str:
    """The words of an answer that tells of an error, in whichever way: one line, not long."""
    found = content
    if isinstance(content, bytes):
        text = content[: SAID_CHARACTERS_MAX * 4].decode("utf-8", "replace")
        try:
            found = json.loads(content)
        except ValueError:
            found = text
    for _ in range(4):
        if isinstance(found, list) and found:
            found = found[0]
        if not isinstance(found, dict):
            break
        words = ("error", "detail", "message", "msg")
        found = next((found[word] for word in words if found.get(word)), str(found))
    words_in_line = " ".join(mended(str(found)).split())
    return words_in_line[:SAID_CHARACTERS_MAX] or "nothing"
