# SPDX-License-Identifier: AGPL-3.0-or-later
"""One live server for all contract tests, and people on it."""

from collections.abc import Iterator

import httpx
import pytest
from contract.wire import Person
from processes import RunningServer, data_folder

KUDOS = 100_000


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """A live server."""
    with data_folder() as data, RunningServer(data) as running:
        yield running


@pytest.fixture(scope="session")
def alice(server: RunningServer) -> Person:
    """Pays."""
    return Person(server.add_user("Alice", kudos=KUDOS))


@pytest.fixture(scope="session")
def bob(server: RunningServer) -> Person:
    """Works."""
    return Person(server.add_user("Bob"))


@pytest.fixture
def http(server: RunningServer) -> Iterator[httpx.Client]:
    """A client of the server, over a real connection."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def server_client(server: RunningServer) -> Iterator[httpx.Client]:
    """One client for fixtures that live long."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
