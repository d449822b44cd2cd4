# SPDX-License-Identifier: AGPL-3.0-or-later
"""Several processes open lanes: none hears "nothing" while a job waits that it could have had.

Every queue here is deaf: what it knows it has from the database. Numbers of lanes are given out in
one order and committed in another, and no queue may rely on either.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import asyncpg
import pytest
from cast import Cast, ask, image_pop, take

from openhorde.server.actions import lanes as directory
from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.lanes import Fitting
from openhorde.server.actions.queue import LANES_PER_CLAIM, Queue
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import lanes as stored
from openhorde.server.store.signals import Signals, Waiting
from openhorde.server.store.statements import Statements


def needs_of(model: str) -> Needs:
    """What a request of one model needs."""
    return Needs(kind="image", models=(model,))


def deaf_queue(horde: Horde) -> Queue:
    """A queue of another process that hears no signals."""
    return Queue(horde.statements, Signals("", horde.queries))


async def finds(queue: Queue, model: str) -> list[int]:
    """The lanes in which a worker of one model finds jobs, once the database has been asked."""
    fitting = Fitting(Offer(kind="image", models=frozenset({model})))
    await queue.look(fitting)
    return queue.fitting(fitting)


async def put_jobs(horde: Horde, lanes: Sequence[int], *, rank: int = 1) -> None:
    """A job of the one request that there is waits in each of these lanes."""
    await horde.pool.execute(
        "insert into jobs (id, request_id, kind, lane, rank, user_id, ordinal, things)"
        " select gen_random_uuid(), id, kind, lane, $2, user_id, 1, 1"
        " from requests, unnest($1::integer[]) as lane",
        lanes,
        rank,
    )


@asynccontextmanager
async def held_open(horde: Horde, model: str) -> AsyncIterator[int]:
    """A lane that another process opens, in a transaction that is not over before the block is."""
    async with horde.statements.transaction() as statements:
        yield await stored.open_lane(statements, needs_of(model))


@pytest.fixture
async def request_stored(horde: Horde, cast: Cast) -> None:
    """A request for jobs to belong to."""
    await ask(horde, await cast.alice())


async def test_a_lane_of_a_lower_number_is_committed_later(
    horde: Horde, request_stored: None
) -> None:
    queue = deaf_queue(horde)
    await queue.start()
    async with held_open(horde, "early") as early:
        late = await stored.open_lane(horde.statements, needs_of("late"))
        assert early < late
        await put_jobs(horde, [late])
        assert await finds(queue, "late") == [late]
        assert await finds(queue, "early") == []
    await put_jobs(horde, [early])
    assert await finds(queue, "early") == [early]


async def test_a_lane_of_its_own_hides_no_lane_of_others(
    horde: Horde, request_stored: None
) -> None:
    queue = deaf_queue(horde)
    await queue.start()
    others = await stored.open_lane(horde.statements, needs_of("theirs"))
    assert await queue.lane(needs_of("ours")) > others
    await put_jobs(horde, [others])
    assert await finds(queue, "theirs") == [others]


async def test_a_live_lane_hides_no_empty_lane_from_a_server_that_starts(
    horde: Horde, request_stored: None
) -> None:
    empty = await stored.open_lane(horde.statements, needs_of("empty"))
    live = await stored.open_lane(horde.statements, needs_of("live"))
    await put_jobs(horde, [live])
    queue = deaf_queue(horde)
    await queue.start()
    await put_jobs(horde, [empty])
    assert await finds(queue, "empty") == [empty]


async def test_a_lane_that_was_forgotten_is_found(
    horde: Horde, request_stored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "LANES_MAX", 1)
    queue = deaf_queue(horde)
    forgotten = await queue.lane(needs_of("forgotten"))
    for model in ("a", "b", "c"):
        await queue.lane(needs_of(model))
    assert queue.needs(forgotten) is None
    await put_jobs(horde, [forgotten])
    assert await finds(queue, "forgotten") == [forgotten]


async def test_a_lane_asked_for_long_ago_is_found_by_its_signal(
    horde: Horde, request_stored: None
) -> None:
    old = await stored.open_lane(horde.statements, needs_of("old"))
    await horde.pool.execute("update lanes set used_at = used_at - interval '20 hours'")
    signals = Signals("", horde.queries)
    queue = Queue(horde.statements, signals)
    await queue.start()
    assert queue.needs(old) is None
    await put_jobs(horde, [old])
    signals.send(Waiting("image", old, 1, 1, 1, 0))
    assert await finds(queue, "old") == [old]


async def test_what_was_read_once_is_not_read_again(horde: Horde) -> None:
    for number in range(5):
        await stored.open_lane(horde.statements, needs_of(str(number)))
    seen_to, lanes = await stored.lanes_asked(horde.statements, stored.NOTHING_SEEN, 60)
    assert len(lanes) == 5
    seen_again, lanes = await stored.lanes_asked(horde.statements, seen_to, 60)
    assert (seen_again, lanes) == (seen_to, {})


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_the_order_of_commits_no_lane_is_missed(
    horde: Horde, request_stored: None, seed: int
) -> None:
    """Transactions of three processes that open lanes overlap at random; queues of others read
    at random, and open lanes of their own."""
    random = Random(seed)
    queues = [deaf_queue(horde) for _ in range(3)]
    connections: list[asyncpg.Connection] = [await horde.pool.acquire() for _ in range(3)]
    open_lanes: dict[int, tuple[asyncpg.transaction.Transaction, str, int]] = {}
    waiting: dict[str, int] = {}
    try:
        for step in range(60):
            place = random.randrange(len(connections))
            if place in open_lanes:
                transaction, model, lane = open_lanes.pop(place)
                await transaction.commit()
                await put_jobs(horde, [lane])
                waiting[model] = lane
            else:
                transaction = connections[place].transaction()
                await transaction.start()
                statements = Statements(connections[place], horde.queries)
                model = f"model {step}"
                lane = await stored.open_lane(statements, needs_of(model))
                open_lanes[place] = transaction, model, lane
            queue = random.choice(queues)
            if random.random() < 0.3:
                await queue.lane(needs_of(f"own {step}"))
            elif waiting:
                model = random.choice(list(waiting))
                assert await finds(queue, model) == [waiting[model]]
    finally:
        for transaction, _, _ in open_lanes.values():
            await transaction.rollback()
        for connection in connections:
            await horde.pool.release(connection)
    for queue in queues:
        for model, lane in waiting.items():
            assert await finds(queue, model) == [lane]


async def test_lanes_taken_empty_hide_no_lane_behind_them(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look and the claim others empty as many lanes as a claim looks at."""
    alice, bob = await cast.alice(), await cast.bob()
    size = {"height": 64, "steps": 1}
    for number in range(LANES_PER_CLAIM):
        await ask(horde, alice, params={"width": 64 * (number + 1), **size})
    await ask(horde, alice, params={"width": 64 * (LANES_PER_CLAIM + 1), **size})
    *front, behind = await horde.pool.fetch("select id, lane from jobs order by rank")
    assert len({row["lane"] for row in front} | {behind["lane"]}) == LANES_PER_CLAIM + 1
    look = Queue.look

    async def look_and_lose(queue: Queue, fitting: Fitting) -> None:
        await look(queue, fitting)
        await horde.pool.execute(
            "update jobs set state = 'cancelled' where id = any ($1)", [row["id"] for row in front]
        )

    monkeypatch.setattr(Queue, "look", look_and_lose)
    elsewhere = replace(horde, queue=deaf_queue(horde))
    popped = await work.pop(elsewhere, bob, image_pop(), "127.0.0.1")
    assert [job.id for job in popped.jobs] == [behind["id"]]


async def test_a_resting_worker_hears_of_its_owners_new_job(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    await take(horde, bob)
    await horde.pool.execute("update workers set maintenance = true")
    horde.check_ins.forget_all()
    with pytest.raises(Refusal, match="WorkerMaintenance"):
        await take(horde, bob)
    # Another process takes the request in, and its signal is still on its way.
    lane = await horde.pool.fetchval("select lane from jobs")
    await horde.pool.execute("update requests set user_id = $1", bob.id)
    await put_jobs(horde, [lane])
    assert len(await take(horde, bob)) == 1
