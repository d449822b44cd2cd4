# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signals reach every process on a database, and find their way back after an interruption."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from openhorde.server.boot import STORE
from openhorde.server.kit.queries import load_queries
from openhorde.server.store import signals as module
from openhorde.server.store.signals import (
    CHANNEL,
    PAYLOAD_BYTES_MAX,
    Changed,
    Edited,
    Signals,
    Started,
    Stepped,
    Waiting,
    open_signals,
)

EACH_KIND = (
    Waiting("image", 1, 2, 3, 4, 5),
    Started("image", uuid4(), 7, uuid4()),
    Changed(uuid4()),
    Stepped(uuid4(), uuid4(), 3, 30),
    Edited("worker", "Bob's machine ❤"),
)


class Heard:
    """What one process heard, and a way to wait for it."""

    def __init__(self, signals: Signals) -> None:
        self.all: list[Any] = []
        self.gaps = 0
        self._news = asyncio.Event()
        kinds: tuple[Any, ...] = (Waiting, Started, Changed, Stepped, Edited)
        for kind in kinds:
            signals.listen(kind, self._heard)
        signals.on_gap(self._gap)

    def _heard(self, signal: Any) -> None:
        self.all.append(signal)
        self._news.set()

    def _gap(self) -> None:
        self.gaps += 1
        self._news.set()

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait until that much was heard."""
        async with asyncio.timeout(30):
            while not enough():
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def two(fresh_database: str) -> AsyncIterator[tuple[Signals, Signals]]:
    """The signals of two processes on one database."""
    async with AsyncExitStack() as stack:
        queries = load_queries(STORE)
        yield (
            await stack.enter_async_context(open_signals(fresh_database, queries)),
            await stack.enter_async_context(open_signals(fresh_database, queries)),
        )


async def test_every_kind_of_signal_reaches_both_processes_once(
    two: tuple[Signals, Signals],
) -> None:
    ours, theirs = two
    here, there = Heard(ours), Heard(theirs)
    for signal in EACH_KIND:
        ours.send(signal)
    assert here.all == list(EACH_KIND)
    await there.until(lambda: len(there.all) == len(EACH_KIND))
    assert there.all == list(EACH_KIND)

    back = Changed(uuid4())
    theirs.send(back)
    await here.until(lambda: back in here.all)
    # What a process has said itself does not come back to it.
    assert here.all == [*EACH_KIND, back]


async def test_a_burst_larger_than_a_payload_arrives_whole(two: tuple[Signals, Signals]) -> None:
    ours, theirs = two
    there = Heard(theirs)
    burst = [Edited("worker", f"worker {number} {'é' * 40}") for number in range(500)]
    assert len(msgspec.json.encode(burst)) > 4 * PAYLOAD_BYTES_MAX
    for signal in burst:
        ours.send(signal)
    await there.until(lambda: len(there.all) == len(burst))
    assert there.all == burst


async def test_of_a_jobs_progress_only_the_latest_travels(two: tuple[Signals, Signals]) -> None:
    ours, theirs = two
    there = Heard(theirs)
    request_id, job_id = uuid4(), uuid4()
    for step in range(1, 31):
        ours.send(Stepped(request_id, job_id, step, 30))
        ours.send(Changed(request_id))
    waiting = Waiting("image", 1, 2, 3, 4, 5)
    ours.send(waiting)
    ours.send(msgspec.structs.replace(waiting))
    await there.until(lambda: there.all.count(waiting) == 2)
    assert there.all == [
        Stepped(request_id, job_id, 30, 30),
        Changed(request_id),
        waiting,
        waiting,
    ]


async def test_who_was_cut_off_comes_back_and_tells_of_the_gap(
    two: tuple[Signals, Signals], fresh_database: str
) -> None:
    ours, theirs = two
    here, there = Heard(ours), Heard(theirs)
    connection = await asyncpg.connect(fresh_database)
    await connection.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'openhorde signals' and datname = current_database()"
    )
    await connection.close()
    kept = Changed(uuid4())
    ours.send(kept)
    await here.until(lambda: here.gaps == 1)
    await there.until(lambda: there.gaps == 1)
    # Said while nobody could hear it: sent again when there is a line, or lost by who was away too.
    after = Changed(uuid4())
    ours.send(after)
    await there.until(lambda: after in there.all)
    theirs.send(Edited("user", "7"))
    await here.until(lambda: Edited("user", "7") in here.all)


async def test_who_has_too_much_to_say_while_the_line_is_down_says_that_something_is_missing(
    two: tuple[Signals, Signals], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PENDING_MAX", 10)
    ours, theirs = two
    here, there = Heard(ours), Heard(theirs)
    for _ in range(12):
        ours.send(Changed(uuid4()))
    await there.until(lambda: there.gaps == 1)
    assert len(there.all) <= 10
    assert len(here.all) == 12
    assert here.gaps == 0


@pytest.mark.parametrize(
    "payload",
    ["", "no json", "{}", "[[]]", '[["c","no uuid"]]', '[["zz",1]]', "[1]", '["c"', "[[[[[[["],
)
async def test_what_cannot_be_read_is_ignored(
    two: tuple[Signals, Signals], fresh_database: str, payload: str
) -> None:
    ours, _ = two
    here = Heard(ours)
    connection = await asyncpg.connect(fresh_database)
    await connection.execute("select pg_notify($1, $2)", CHANNEL, payload)
    await connection.execute("select pg_notify($1, $2)", CHANNEL, '[["e","user","1"]]')
    await connection.close()
    await here.until(lambda: bool(here.all))
    assert here.all == [Edited("user", "1")]


async def test_the_signals_a_process_knows_are_heard_beside_one_it_does_not(
    two: tuple[Signals, Signals], fresh_database: str
) -> None:
    ours, _ = two
    here = Heard(ours)
    request_id = UUID(int=5)
    connection = await asyncpg.connect(fresh_database)
    payload = f'[["from a later version",1],["c","{request_id}"],["c","{request_id}","more"]]'
    await connection.execute("select pg_notify($1, $2)", CHANNEL, payload)
    await connection.close()
    await here.until(lambda: len(here.all) == 2)
    assert here.all == [Changed(request_id)] * 2


async def test_a_listener_that_fails_keeps_nobody_from_hearing(
    two: tuple[Signals, Signals],
) -> None:
    ours, theirs = two

    def fail(_: Changed) -> None:
        raise RuntimeError("a mistake of a listener")

    ours.listen(Changed, fail)
    theirs.listen(Changed, fail)
    here, there = Heard(ours), Heard(theirs)
    said = Changed(uuid4())
    ours.send(said)
    assert here.all == [said]
    await there.until(lambda: there.all == [said])


async def test_what_was_said_last_is_sent_before_the_end(fresh_database: str) -> None:
    queries = load_queries(STORE)
    async with open_signals(fresh_database, queries) as theirs:
        there = Heard(theirs)
        last = Changed(uuid4())
        async with open_signals(fresh_database, queries) as ours:
            ours.send(last)
        await there.until(lambda: there.all == [last])
