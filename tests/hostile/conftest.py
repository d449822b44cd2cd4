# SPDX-License-Identifier: AGPL-3.0-or-later
"""A live server to be attacked, and the promise that it survives every test."""

from collections.abc import Iterator

import httpx
import pytest
from hostile.attacks import Target
from processes import RunningServer, data_folder


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """A live server that may fetch pictures from no private network."""
    with data_folder() as data, RunningServer(data) as running:
        yield running


@pytest.fixture(scope="session")
def key(server: RunningServer) -> str:
    """The key of somebody rich and trusted, who gets further than others."""
    return server.add_user("Mallory", kudos=1_000_000)


@pytest.fixture(scope="session")
def bystanders_key(server: RunningServer) -> str:
    """The key of somebody who has nothing to do with all this."""
    return server.add_user("Bystander", kudos=100_000)


@pytest.fixture
def target(server: RunningServer, key: str, bystanders_key: str) -> Iterator[Target]:
    """The server, which works as before for others when the test is over."""
    with httpx.Client(base_url=server.url, timeout=60) as http:
        found = Target(http, key, bystanders_key, server.port)
        yield found
        found.assert_well()
    assert "call_failed" not in server.said()
