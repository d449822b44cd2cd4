# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole horde without HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cast import Cast

from openhorde.server.actions.horde import Horde
from openhorde.server.boot import open_horde
from openhorde.server.settings import ServerSettings


@pytest.fixture
async def horde(fresh_database: str, tmp_path: Path) -> AsyncIterator[Horde]:
    """A horde on an empty database."""
    settings = ServerSettings(database_url=fresh_database, data=tmp_path, known_models=None)
    async with open_horde(settings, "http://127.0.0.1:7001") as opened:
        yield opened


@pytest.fixture
def cast(horde: Horde) -> Cast:
    """The standing cast of this horde."""
    return Cast(horde)
