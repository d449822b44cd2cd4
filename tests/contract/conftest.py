# SPDX-License-Identifier: AGPL-3.0-or-later
"""One live server for all contract tests, and people on it."""

from collections.abc import Iterator

import httpx
import pytest
from contract.wire import Person
from processes import RunningServer, data_folder

KUDOS = 100_000
WORKERS_MAX = 100
OPERATOR = "the operator"


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """A live server, which also fetches pictures from the tests themselves. Its operator is its
    administrator."""
    settings = {"fetch_allow": "127.0.0.0/8", "admins": f"provider:{OPERATOR}"}
    with data_folder() as data, RunningServer(data, **settings) as running:
        yield running


@pytest.fixture(scope="session")
def operator(server: RunningServer) -> Person:
    """Awards."""
    return Person(server.add_user("Operator", provider_id=OPERATOR))


@pytest.fixture(scope="session")
def alice(server: RunningServer) -> Person:
    """Pays."""
    return Person(server.add_user("Alice", kudos=KUDOS))


@pytest.fixture(scope="session")
def bob(server: RunningServer, dora: Person) -> Person:
    """Works, with more machines than anybody may have uninvited."""
    person = Person(server.add_user("Bob"))
    me = httpx.get(f"{server.url}/api/v2/find_user", headers=person.headers).json()
    invited = httpx.put(
        f"{server.url}/api/v2/users/{me['id']}",
        headers=dora.headers,
        json={"worker_invited": WORKERS_MAX},
    )
    assert invited.status_code == 200, invited.text
    return person


@pytest.fixture(scope="session")
def dora(server: RunningServer) -> Person:
    """Moderates."""
    return Person(server.add_user("Dora", moderator=True))


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
