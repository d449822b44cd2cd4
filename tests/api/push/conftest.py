# SPDX-License-Identifier: AGPL-3.0-or-later
"""Streams of events, followed without a network."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import Application, create_app


@dataclass(frozen=True)
class Event:
    """An event as a client gets it; the id is empty where none was sent."""

    name: str
    id: str
    data: Any


class Follower:
    """Follows one stream. Comments are kept apart."""

    def __init__(self, app: Application, path: str, headers: dict[str, str], address: str) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.events: list[Event] = []
        self.comments = 0
        self.body = b""
        self.ended = False
        self._news = asyncio.Condition()
        self._gone = asyncio.Event()
        self._read = asyncio.Event()
        self._read.set()
        self._rest = b""
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
            "client": (address, 1234),
            "scheme": "http",
            "server": ("horde.test", 80),
        }
        self._task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self._read.wait()
        async with self._news:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): text.decode() for name, text in message["headers"]}
            else:
                self.body += message.get("body", b"")
                self._take(message.get("body", b""))
                self.ended = not message.get("more_body", False)
            self._news.notify_all()

    def _take(self, part: bytes) -> None:
        *blocks, self._rest = (self._rest + part).split(b"\n\n")
        for block in blocks:
            lines = block.decode().split("\n")
            fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            if "data" in fields:
                data = msgspec.json.decode(fields["data"])
                self.events.append(Event(fields["event"], fields.get("id", ""), data))
            self.comments += sum(line.startswith(":") for line in lines)

    def stop_reading(self) -> None:
        """Let nothing more through, as a reader that is stuck."""
        self._read.clear()

    def read_on(self) -> None:
        """Let it through again."""
        self._read.set()

    async def until(self, enough: Callable[["Follower"], bool]) -> list[Event]:
        """The events so far, as soon as that holds."""
        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(lambda: enough(self))
        return self.events

    async def named(self, name: str, count: int = 1) -> list[Event]:
        """The events of a name, once there are so many."""
        await self.until(lambda _: sum(each.name == name for each in self.events) >= count)
        return [each for each in self.events if each.name == name]

    async def all(self) -> list[Event]:
        """All events, once the stream has ended."""
        return await self.until(lambda _: self.ended)

    async def hang_up(self) -> None:
        """Close the line."""
        self._gone.set()
        self._read.set()
        async with asyncio.timeout(30):
            await self._task


Follow = Callable[..., Follower]


@pytest.fixture
async def follow(horde: Horde) -> AsyncIterator[Follow]:
    """Follows the events of a request of this horde, or of another."""
    followers: list[Follower] = []

    def start(
        request_id: object,
        last_event_id: str = "",
        *,
        of: Horde = horde,
        query: str = "",
        address: str = "127.0.0.1",
    ) -> Follower:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        path = f"/api/v2/generate/events/{request_id}{query}"
        follower = Follower(create_app(of), path, headers, address)
        followers.append(follower)
        return follower

    yield start
    for follower in followers:
        await follower.hang_up()
    assert len(horde.watches) == 0
