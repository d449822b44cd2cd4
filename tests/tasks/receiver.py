# SPDX-License-Identifier: AGPL-3.0-or-later
"""A host on the loopback that plays the receivers of webhooks."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

HOSTS = ("hook.example", "other.example", "dead.example")
INSIDE = "inside.example"


@dataclass(frozen=True)
class Heard:
    """What a receiver was sent."""

    host: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        """The body."""
        return msgspec.json.decode(self.body)


class Receiver:
    """An https server under several names. It answers 204 unless `answers` has something left;
    `dead.example` hears and never answers."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: list[str] = []
        self.port = 0
        self.ended = asyncio.Event()
        self._news = asyncio.Condition()
        self._visits: set[asyncio.Task[None]] = set()

    def url(self, host: str = "hook.example", path: str = "/hook") -> str:
        """Where this is reached."""
        return f"https://{host}:{self.port}{path}"

    def of(self, host: str) -> list[Heard]:
        """What came under a name."""
        return [heard for heard in self.heard if heard.host == host]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was heard is enough."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(condition)

    async def until_heard(self, calls: int) -> None:
        """Wait until so many calls were heard."""
        await self.until(lambda: len(self.heard) >= calls)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        # SSLError: who does not trust the certificate leaves in the middle of the greeting.
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            try:
                await self._answer(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        host = headers["host"].partition(":")[0]
        async with self._news:
            self.heard.append(Heard(host, first.split(" ")[1], headers, body))
            self._news.notify_all()
        if host == "dead.example":
            await self.ended.wait()
            return
        answer = self.answers.pop(0) if self.answers else "204 No Content"
        writer.write(f"HTTP/1.1 {answer}\r\n\r\n".encode())

    async def close(self) -> None:
        """Let everybody go."""
        self.ended.set()
        await asyncio.wait_for(asyncio.gather(*self._visits), 10)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Names of the tests: one is of the operator's own network."""
    if host in HOSTS:
        return ["127.0.0.1"]
    if host == INSIDE:
        return ["127.0.0.2"]
    raise OSError("unknown")
