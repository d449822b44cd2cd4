# SPDX-License-Identifier: AGPL-3.0-or-later
"""A horde whose webhooks lead to the loopback."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from certificates import Certificate
from tasks.receiver import HOSTS, INSIDE, Receiver, resolve

from openhorde.server.actions.horde import Horde
from openhorde.server.kit.clock import FixedClock
from openhorde.server.kit.fetch import Fetcher


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """What the receivers show."""
    return Certificate(tmp_path, *HOSTS, INSIDE)


@pytest.fixture
def clock() -> FixedClock:
    """Stands at the present."""
    return FixedClock(datetime.now(UTC) + timedelta(seconds=1))


@pytest.fixture
def calling_horde(horde: Horde, clock: FixedClock, certificate: Certificate) -> Horde:
    """The same horde with a clock of its own, for which 127.0.0.1 is the public internet."""
    fetcher = Fetcher(
        [ip_network("127.0.0.1/32")],
        timeout_seconds=20,
        resolve=resolve,
        ssl_context=certificate.trusted(),
    )
    return replace(horde, clock=clock, webhook_fetcher=fetcher)


@pytest.fixture
async def receiver(certificate: Certificate) -> AsyncIterator[Receiver]:
    """The receivers of webhooks."""
    receiver = Receiver()
    async with await asyncio.start_server(
        receiver.handle, "127.0.0.1", 0, ssl=certificate.shown()
    ) as server:
        receiver.port = server.sockets[0].getsockname()[1]
        yield receiver
        await receiver.close()
