# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rate limits, by a clock that stands still."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import create_app
from openhorde.server.api.operations import Bucket, Call, Limit, Operation
from openhorde.server.api.table import OPERATIONS
from openhorde.server.api.throttle import WindowStorage
from openhorde.server.kit.clock import FixedClock
from openhorde.server.settings import ServerSettings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def _nothing(call: Call) -> object:
    return {}


def _operation(name: str, path: str, *limits: Limit) -> Operation:
    return Operation(
        name=name,
        method="GET",
        path=path,
        handler=_nothing,
        summary="",
        tag="",
        limits=limits,
    )


LIMITED = (
    _operation("address", "/address", Limit("2/second")),
    _operation("other", "/other", Limit("2/second")),
    _operation("path", "/path/{id}", Limit("2/second", Bucket.ADDRESS_AND_PATH)),
    _operation("key", "/key", Limit("1/second", Bucket.KEY_AND_PATH, rate_anonymous="3/second")),
    _operation("both", "/both", Limit("5/minute"), Limit("2/second")),
    _operation("free", "/free"),
)


@pytest.fixture
def clock() -> FixedClock:
    """Moved by the tests."""
    return FixedClock(NOON)


@pytest.fixture
def app(clock: FixedClock) -> Any:
    """An application of limited operations."""
    horde = cast(Horde, SimpleNamespace(settings=ServerSettings(), clock=clock))
    return create_app(horde, operations=LIMITED)


@pytest.fixture
async def http(app: Any, calling: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who calls often."""
    async with calling(app) as client:
        yield client


async def _statuses(http: httpx.AsyncClient, path: str, count: int, **more: Any) -> list[int]:
    return [(await http.get(path, **more)).status_code for _ in range(count)]


async def test_a_full_window_refuses_until_it_ends(
    http: httpx.AsyncClient, clock: FixedClock
) -> None:
    assert await _statuses(http, "/address", 3) == [200, 200, 429]
    clock.advance(0.9)
    assert await _statuses(http, "/address", 1) == [429]
    clock.advance(0.1)
    assert await _statuses(http, "/address", 3) == [200, 200, 429]


async def test_the_refusal_says_when_to_come_back(http: httpx.AsyncClient) -> None:
    await _statuses(http, "/both", 2)
    answer = await http.get("/both")
    assert answer.json() == {"message": "2 per 1 second"}
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-ratelimit-limit"] == "2"
    assert answer.headers["x-ratelimit-remaining"] == "0"
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_answers_say_what_is_left(http: httpx.AsyncClient) -> None:
    answer = await http.get("/address")
    assert answer.headers["x-ratelimit-remaining"] == "1"
    assert int(answer.headers["x-ratelimit-reset"]) == int(NOON.timestamp()) + 1


async def test_the_longer_window_holds_too(http: httpx.AsyncClient, clock: FixedClock) -> None:
    seen = []
    for _ in range(4):
        seen += await _statuses(http, "/both", 2)
        clock.advance(1)
    assert seen == [200, 200, 200, 200, 200, 429, 429, 429]
    answer = await http.get("/both")
    assert answer.json() == {"message": "5 per 1 minute"}
    assert answer.headers["retry-after"] == "56"


async def test_operations_are_counted_apart(http: httpx.AsyncClient) -> None:
    assert await _statuses(http, "/address", 3) == [200, 200, 429]
    assert await _statuses(http, "/other", 1) == [200]


async def test_addresses_are_counted_apart(app: Any, calling: Any) -> None:
    @asynccontextmanager
    async def caller(address: str) -> AsyncIterator[httpx.AsyncClient]:
        async with calling(app, address) as client:
            yield client

    async with caller("9.9.9.1") as first, caller("9.9.9.2") as second:
        assert await _statuses(first, "/address", 3) == [200, 200, 429]
        assert await _statuses(second, "/address", 1) == [200]
    # One subscriber has a whole /64 of these.
    async with caller("2001:db8::1") as first, caller("2001:db8::2") as second:
        assert await _statuses(first, "/address", 2) == [200, 200]
        assert await _statuses(second, "/address", 1) == [429]


async def test_paths_are_counted_apart(http: httpx.AsyncClient) -> None:
    assert await _statuses(http, "/path/1", 3) == [200, 200, 429]
    assert await _statuses(http, "/path/2", 1) == [200]


async def test_keys_are_counted_apart_and_anonymous_callers_together(
    http: httpx.AsyncClient,
) -> None:
    assert await _statuses(http, "/key", 2, headers={"apikey": "one"}) == [200, 429]
    assert await _statuses(http, "/key", 1, headers={"apikey": "two"}) == [200]
    assert await _statuses(http, "/key", 2, headers={"apikey": "0000000000"}) == [200, 200]
    assert await _statuses(http, "/key", 2) == [200, 429]


async def test_no_limit_no_count(http: httpx.AsyncClient) -> None:
    assert await _statuses(http, "/free", 200) == [200] * 200
    assert "x-ratelimit-limit" not in (await http.get("/free")).headers


async def test_off_is_off(calling: Any, clock: FixedClock) -> None:
    settings = ServerSettings(rate_limits=False)
    horde = cast(Horde, SimpleNamespace(settings=settings, clock=clock))
    async with calling(create_app(horde, operations=LIMITED)) as client:
        assert await _statuses(client, "/address", 5) == [200] * 5


def test_windows_that_ended_are_swept() -> None:
    seconds = 0.0
    storage = WindowStorage(lambda: seconds)
    for number in range(10_000):
        storage.incr(str(number), 1)
    seconds = 1.0
    storage.incr("new", 1)
    assert storage.reset() == 1
    assert storage.check()


def test_limits_of_the_wire() -> None:
    by_name = {operation.name: operation for operation in OPERATIONS}
    expected = {
        "get_users": {"90/minute"},
        "get_user_single": {"60/minute"},
        "put_worker_single": {"30/minute"},
        "get_horde_modes": {"30/minute"},
        "get_heartbeat": set(),
        "post_image_job_pop": {"60/second"},
        "post_image_job_submit": {"60/second"},
        "post_image_async_generate": {"90/minute", "2/second"},
        "get_image_async_check": {"10/second"},
        "get_image_async_status": {"10/minute"},
        "front_page": {"90/minute"},
    }
    for name, rates in expected.items():
        assert {limit.rate for limit in by_name[name].limits} == rates
