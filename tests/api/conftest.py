# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole horde with its HTTP side, called without a network."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cast import Cast

from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import Application, create_app
from openhorde.server.boot import open_horde
from openhorde.server.settings import ServerSettings
from openhorde.server.store.users import ANONYMOUS_KEY

ROOT = "http://horde.test"


def calling(app: Application, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """A client of the application that calls from an address."""
    transport = httpx.ASGITransport(app, client=(address, 1234))
    return httpx.AsyncClient(transport=transport, base_url=ROOT)


@pytest.fixture
async def horde(fresh_database: str, tmp_path: Path) -> AsyncIterator[Horde]:
    """A horde on an empty database, without rate limits."""
    settings = ServerSettings(
        database_url=fresh_database, data=tmp_path, known_models=None, rate_limits=False
    )
    async with open_horde(settings, ROOT) as opened:
        yield opened


@pytest.fixture
def cast(horde: Horde) -> Cast:
    """The standing cast of this horde."""
    return Cast(horde)


@pytest.fixture
async def http(horde: Horde) -> AsyncIterator[httpx.AsyncClient]:
    """A client of this horde."""
    async with calling(create_app(horde)) as client:
        yield client


@pytest.fixture
def anonymously() -> dict[str, str]:
    """The headers of somebody without a key of their own."""
    return {"apikey": ANONYMOUS_KEY}
