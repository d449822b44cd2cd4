# SPDX-License-Identifier: AGPL-3.0-or-later
"""A live server to be attacked, and the promise that it survives every test."""

from collections.abc import Iterator

import httpx
import pytest
from hostile.attacks import Target
from processes import RunningServer, data_folder, wait_until


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


@pytest.fixture(scope="session")
def target(server: RunningServer, key: str, bystanders_key: str) -> Iterator[Target]:
    """The server as it is attacked."""
    with httpx.Client(base_url=server.url, timeout=60) as http:
        yield Target(http, key, bystanders_key, server.port)


@pytest.fixture(autouse=True, scope="module")
def others_are_served_afterwards(target: Target) -> Iterator[None]:
    """After each file of attacks the server does all its work as before."""
    yield
    target.assert_well()


@pytest.fixture(autouse=True)
def nothing_failed_inside(target: Target, server: RunningServer) -> Iterator[None]:
    """After each attack the server answers, and its log tells of no mistake of ours."""
    read = server.log.stat().st_size
    yield
    # A call whose body never came counts as work until the server sees that its caller has left.
    wait_until(lambda: heartbeat(target) == "OK", "the server says that it is well")
    with server.log.open("rb") as log:
        log.seek(read)
        news = log.read().decode(errors="replace")
    assert "call_failed" not in news, news
    assert "Traceback" not in news, news


def heartbeat(target: Target) -> str:
    """What the server says of itself."""
    return str(target.http.get("/api/v2/status/heartbeat").json()["message"])
