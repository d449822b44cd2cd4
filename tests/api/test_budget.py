# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bodies in memory: bounded over all connections, and shared fairly among addresses."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from openhorde.server.actions.horde import Horde
from openhorde.server.api import budget, receiving
from openhorde.server.api.app import Application, create_app
from openhorde.server.api.bodies import BodyReader
from openhorde.server.api.budget import BodiesTooMany, BodyBudget
from openhorde.server.api.operations import Call, Operation
from openhorde.server.api.table import OPERATIONS
from openhorde.server.kit.clock import SystemClock
from openhorde.server.settings import ServerSettings

ADDRESSES = ["1.1.1.1", "2.2.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:1::"]


@given(st.lists(st.tuples(st.sampled_from(ADDRESSES), st.integers(0, 60), st.booleans())))
def test_what_is_held_stays_within_its_bounds(steps: list[tuple[str, int, bool]]) -> None:
    held = BodyBudget(100)
    taken: list[tuple[str, int]] = []
    for address, size, gives_back in steps:
        if gives_back and taken:
            held.give_back(*taken.pop())
            continue
        before = held.bytes_held
        try:
            held.take(address, size)
        except BodiesTooMany:
            assert held.bytes_held == before
        else:
            taken.append((address, size))
        assert held.bytes_held == sum(size for _, size in taken) <= 100
    for each in taken:
        held.give_back(*each)
    assert held.bytes_held == 0
    held.take("3.3.3.3", 50)


def test_one_address_leaves_room_for_others() -> None:
    held = BodyBudget(100)
    held.take("1.1.1.1", 50)
    with pytest.raises(BodiesTooMany) as refused:
        held.take("1.1.1.1", 1)
    assert refused.value.of_address
    held.take("2.2.2.2", 25)
    held.take("2001:db8::1", 12)
    with pytest.raises(BodiesTooMany) as refused:
        held.take("2001:db8::ffff", 1)
    assert refused.value.of_address
    with pytest.raises(BodiesTooMany) as refused:
        held.take("3.3.3.3", 20)
    assert not refused.value.of_address


class Body(Struct, kw_only=True):
    """A body."""

    text: str


async def _length(call: Call) -> object:
    return len(call.body.text)


SIZE = 1 << 20
OPERATION = Operation(
    name="post_length",
    method="POST",
    path="/api/length",
    handler=_length,
    summary="",
    tag="",
    body=Body,
    body_bytes_max=2 * SIZE,
    body_bytes_max_anonymous=2 * SIZE,
    limits=(),
)


@pytest.fixture
def app() -> Application:
    """An application with one operation and no database."""
    horde = SimpleNamespace(settings=ServerSettings(rate_limits=False), clock=SystemClock())
    return create_app(cast(Horde, horde), operations=[OPERATION])


async def test_half_sent_bodies_count_until_their_call_ends(
    app: Application, calling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_budget", BodyBudget(3 * SIZE))
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield b'{"text": "' + b"x" * SIZE
        begun.set()
        await go_on.wait()
        yield b'"}'

    body = b'{"text": "%s"}' % (b"x" * SIZE)
    async with calling(app, "1.1.1.1") as one, calling(app, "2.2.2.2") as other:
        halted = asyncio.create_task(one.post("/api/length", content=halting()))
        await begun.wait()
        refused = await one.post("/api/length", content=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert refused.json()["message"]
        # Not even for others is there more than what is left.
        refused = await other.post("/api/length", content=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert (await other.post("/api/length", content=b'{"text": "x"}')).json() == 1
        go_on.set()
        assert (await halted).json() == SIZE
        assert (await other.post("/api/length", content=body)).json() == SIZE


async def test_large_bodies_of_one_address_are_read_one_after_another(
    app: Application, calling: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one address has many to be read, another's is next."""
    order: list[str] = []
    read = BodyReader.read

    def note(self: BodyReader, raw: bytes) -> Any:
        order.append(raw[10:11].decode())
        return read(self, raw)

    monkeypatch.setattr(BodyReader, "read", note)
    monkeypatch.setattr(app._receiver, "_threads", ThreadPoolExecutor(1))

    async def post(client: httpx.AsyncClient, letter: bytes) -> None:
        size = receiving.READ_AT_ONCE_BYTES_MAX + 1
        answer = await client.post("/api/length", content=b'{"text": "%s"}' % (letter * size))
        assert answer.json() == size

    async with calling(app, "1.1.1.1") as one, calling(app, "2.2.2.2") as other:
        await asyncio.gather(*(post(one, b"a") for _ in range(10)), post(other, b"b"))
    assert order.index("b") <= 2
    assert len(order) == 11


def test_the_bound_holds_several_of_the_largest_bodies() -> None:
    largest = max(operation.body_bytes_max for operation in OPERATIONS)
    assert 8 * largest <= budget.BODY_BYTES_HELD_MAX
