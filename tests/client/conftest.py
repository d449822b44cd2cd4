# SPDX-License-Identifier: AGPL-3.0-or-later
"""A playing horde, and a client of it that never really sleeps."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from client.playing_horde import GOOD_KEY, PlayingHorde

from openhorde.client import AsyncHorde


@pytest.fixture
def playing() -> Iterator[PlayingHorde]:
    with PlayingHorde().running() as horde:
        yield horde


@pytest.fixture
def pauses() -> list[float]:
    """The pauses the client would have made."""
    return []


@pytest_asyncio.fixture
async def horde(playing: PlayingHorde, pauses: list[float]) -> AsyncIterator[AsyncHorde]:
    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    async with AsyncHorde(playing.url, GOOD_KEY, sleep=sleep) as client:
        yield client
