# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole horde with its HTTP side, called without a network."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from openhorde.server.actions.horde import Horde
from openhorde.server.actions.queue import Queue
from openhorde.server.actions.users import add_user
from openhorde.server.actions.workforce import Workforce
from openhorde.server.api.app import Application, create_app

ROOT = "http://horde.test"


@dataclass(frozen=True)
class Person:
    """Somebody with an account, and the headers of their calls."""

    id: int
    alias: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """With their key."""
        return {"apikey": self.key}


Calling = Callable[..., httpx.AsyncClient]
Join = Callable[..., Awaitable[Person]]


@pytest.fixture
def calling() -> Calling:
    """Makes clients of an application, that call from an address."""

    def make(app: Application, address: str = "127.0.0.1") -> httpx.AsyncClient:
        # What the application raises must never get out of it.
        transport = httpx.ASGITransport(app, raise_app_exceptions=True, client=(address, 1234))
        return httpx.AsyncClient(transport=transport, base_url=ROOT)

    return make


@pytest.fixture
async def http(horde: Horde, calling: Calling) -> AsyncIterator[httpx.AsyncClient]:
    """A client of this horde."""
    async with calling(create_app(horde)) as client:
        yield client


@pytest.fixture
def join(horde: Horde) -> Join:
    """Lets people join this horde."""

    async def make(name: str, *, moderator: bool = False) -> Person:
        added = await add_user(horde.statements, horde.salt, username=name, moderator=moderator)
        return Person(added.user_id, added.alias, added.api_key)

    return make


@pytest.fixture
def look(horde: Horde, calling: Calling) -> Callable[[str], Awaitable[Any]]:
    """Gets a path as another process of this horde would, that knows nothing from before."""

    async def get(path: str) -> Any:
        queue = Queue(horde.statements, horde.signals)
        await queue.start()
        workforce = Workforce(horde.statements, horde.reference)
        other = replace(horde, queue=queue, workforce=workforce)
        async with calling(create_app(other)) as client:
            return await client.get(path)

    return get
