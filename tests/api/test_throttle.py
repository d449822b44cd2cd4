# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rate limits, by a clock that stands still."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from redis_server import running_redis

from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import create_app
from openhorde.server.api.operations import Bucket, Call, Limit, Operation
from openhorde.server.api.table import OPERATIONS
from openhorde.server.api.throttle import Counts
from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit import distant_counts
from openhorde.server.kit.clock import FixedClock
from openhorde.server.kit.distant_counts import DistantCounts
from openhorde.server.kit.shared_counts import SharedCounts, share_memory
from openhorde.server.settings import ServerSettings
from openhorde.server.store.users import Account

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


LONG = (_operation("long", "/long", Limit("3/day")),)
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


async def test_headers_of_the_standard_say_it_too(
    http: httpx.AsyncClient, clock: FixedClock
) -> None:
    await http.get("/both")
    clock.advance(0.2)
    answer = await http.get("/both")
    assert answer.headers["ratelimit-limit"] == "2"
    assert answer.headers["ratelimit-remaining"] == "0"
    assert answer.headers["ratelimit-reset"] == "1"
    assert answer.headers["ratelimit-policy"] == "5;w=60, 2;w=1"
    shown = answer.headers["access-control-expose-headers"]
    assert {"RateLimit-Reset", "RateLimit-Policy", "Retry-After"} <= set(shown.split(", "))


async def test_an_address_where_somebody_trusted_calls_is_welcome(
    calling: Any, clock: FixedClock
) -> None:
    async def succeed(call: Call) -> object:
        if call.api_key == "refused":
            raise Refusal("BadRequest", reason="it had to be")
        call.account = cast(
            Account,
            SimpleNamespace(trusted=call.api_key != "nobody", service=False, education=False),
        )
        return {}

    limit = Limit("1/second", rate_welcome="3/second")
    operation = replace(_operation("welcome", "/welcome", limit), handler=succeed, welcomes=True)
    horde = cast(Horde, SimpleNamespace(settings=ServerSettings(), clock=clock))
    app = create_app(horde, operations=[operation])
    async with calling(app, "9.9.9.1") as near, calling(app, "9.9.9.2") as far:
        for key in ("nobody", "refused"):
            assert (await _statuses(near, "/welcome", 2, headers={"apikey": key}))[1] == 429
            clock.advance(1)
        assert await _statuses(near, "/welcome", 2, headers={"apikey": "trusted"}) == [200, 200]
        assert await _statuses(near, "/welcome", 2, headers={"apikey": "nobody"}) == [200, 429]
        assert await _statuses(far, "/welcome", 2, headers={"apikey": "nobody"}) == [200, 429]
        clock.advance(86_400)
        assert await _statuses(near, "/welcome", 2, headers={"apikey": "nobody"}) == [200, 429]


@asynccontextmanager
async def _machine(calling: Any, clock: FixedClock, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """One of several machines that let a Redis count."""
    now = lambda: clock.now().timestamp()  # noqa: E731
    distant = DistantCounts(url)
    counts = Counts(SharedCounts(share_memory(), now), distant)
    horde = cast(Horde, SimpleNamespace(settings=ServerSettings(), clock=clock))
    async with calling(create_app(horde, operations=LONG, counts=counts)) as client:
        yield client
    await distant.close()


async def test_machines_count_together_and_alone_while_redis_is_away(
    calling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distant_counts, "ANSWER_SECONDS_MAX", 60.0)
    clock = FixedClock(datetime.now(UTC))
    with running_redis() as redis:
        async with (
            _machine(calling, clock, redis.url) as one,
            _machine(calling, clock, redis.url) as two,
        ):
            assert await _statuses(one, "/long", 2) == [200, 200]
            assert await _statuses(two, "/long", 2) == [200, 429]
            refusal = await one.get("/long")
            assert 0 < int(refusal.headers["retry-after"]) <= 86_400
            redis.stop()
            assert await _statuses(two, "/long", 4) == [200, 200, 200, 429]


A, AP, KP = Bucket.ADDRESS, Bucket.ADDRESS_AND_PATH, Bucket.KEY_AND_PATH
ASKING = {
    Limit("90/minute", AP, rate_welcome="300/minute"),
    Limit("2/second", AP, rate_welcome="10/second"),
    Limit("2/second", KP, rate_anonymous="60/second", rate_welcome="60/second"),
}
STATUS = {Limit("10/minute", AP)}
TEXT_STATUS = {Limit("60/minute", AP)}
WIRE = {
    "post_image_async_generate": ASKING,
    "post_text_async_generate": ASKING,
    "get_text_async_status": TEXT_STATUS,
    "delete_text_async_status": TEXT_STATUS,
    "post_text_job_pop": {Limit("60/second", A)},
    "post_text_job_submit": {Limit("60/second", A)},
    "get_image_async_check": {Limit("10/second", AP)},
    "get_image_async_status": STATUS,
    "delete_image_async_status": STATUS,
    "post_image_job_pop": {Limit("60/second", A)},
    "post_image_job_submit": {Limit("60/second", A)},
    "post_transfer_kudos": {Limit("1/second", KP), Limit("90/hour", KP, rate_welcome="600/hour")},
    "get_users": {Limit("90/minute", A)},
    "get_user_single": {Limit("60/minute", AP)},
    "put_user_single": {Limit("60/minute", AP)},
    "get_worker_single": {Limit("30/minute", AP)},
    "put_worker_single": {Limit("30/minute", AP)},
    "delete_worker_single": {Limit("30/minute", AP)},
    "get_horde_modes": {Limit("30/minute", A)},
    "get_heartbeat": set(),
    "front_page": {Limit("90/minute", A)},
}


@pytest.mark.parametrize("name", WIRE)
def test_limits_of_the_wire(name: str) -> None:
    by_name = {operation.name: operation for operation in OPERATIONS}
    assert set(by_name[name].limits) == WIRE[name]
