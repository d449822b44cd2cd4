# SPDX-License-Identifier: AGPL-3.0-or-later
"""The queue across processes and accidents: tags, bounds, lanes, ends."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest
from cast import Cast, ask, delivery, image_pop, take

from openhorde.server.actions import requests, work
from openhorde.server.actions.assignments import Assignments
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.lanes import Fitting
from openhorde.server.actions.queue import Queue
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import lanes as stored
from openhorde.server.store.signals import Signals
from openhorde.server.tasks import prune_lanes


async def test_requests_of_the_same_instant_follow_each_other(horde: Horde, cast: Cast) -> None:
    alice = await cast.alice()
    await asyncio.gather(*(ask(horde, alice) for _ in range(8)))
    tags = await horde.pool.fetch("select start_tag, finish_tag from requests order by start_tag")
    for before, after in pairwise(tags):
        assert before["finish_tag"] <= after["start_tag"]


async def test_requests_of_the_same_instant_do_not_pass_the_bound(horde: Horde, cast: Cast) -> None:
    alice = await cast.alice()
    params = {"width": 64, "height": 64, "steps": 1, "n": 4}
    asked = await asyncio.gather(
        *(ask(horde, alice, params=params) for _ in range(12)), return_exceptions=True
    )
    refused = [answer for answer in asked if isinstance(answer, Refusal)]
    assert {refusal.code for refusal in refused} == {"TooManyPrompts"}
    # 7 x 4 fit into 30, and nobody is refused for those that are refused.
    assert await horde.pool.fetchval("select count(*) from jobs where state = 'waiting'") == 28


async def test_two_last_jobs_delivered_at_once_leave_nothing_held(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    params = {"width": 64, "height": 64, "steps": 1, "n": 4}
    await ask(horde, alice, params=params)
    jobs = await take(horde, bob, amount=4)
    await asyncio.gather(*(work.deliver(horde, bob, delivery(job_id)) for job_id in jobs))
    assert await horde.pool.fetchval("select ended_at is not null from requests")


async def test_a_batch_has_time_for_each_of_its_jobs(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    params = {"width": 64, "height": 64, "steps": 1, "n": 3}
    await ask(horde, alice, params=params)
    popped = await work.pop(horde, bob, image_pop(amount=3), "127.0.0.1")
    assert len(popped.jobs) == 3
    assert popped.jobs[0].ttl_seconds == 3 * horde.settings.job_ttl_seconds_min
    seconds = await horde.pool.fetchval(
        "select min(extract(epoch from deadline_at - popped_at))::integer from jobs"
    )
    assert seconds == popped.jobs[0].ttl_seconds


async def test_a_worker_finds_its_owner_in_any_lane(horde: Horde, cast: Cast) -> None:
    # More lanes are live than a claim looks at, and all come before the owner's.
    alice, bob = await cast.alice(), await cast.bob()
    for number in range(24):
        await ask(horde, alice, params={"width": 64 * (number + 1), "height": 64, "steps": 1})
    own = await ask(horde, bob, params={"width": 64, "height": 128, "steps": 7})
    await horde.pool.execute("update jobs set rank = 10^15 where request_id = $1", own)
    popped = await work.pop(horde, bob, image_pop(), "127.0.0.1")
    assert [job.request_id for job in popped.jobs] == [own]


async def test_a_blacklist_is_looked_through_without_end_in_sight(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    alice = msgspec.structs.replace(alice, concurrency=5000)
    request_id = await ask(horde, alice, prompt="a Forbidden thing")
    await horde.pool.execute(
        "insert into jobs (id, request_id, kind, lane, rank, user_id, ordinal, things)"
        " select gen_random_uuid(), request_id, kind, lane, rank - number, user_id, 1, things"
        " from jobs, generate_series(1, 1000) as number where request_id = $1",
        request_id,
    )
    await ask(horde, alice, prompt="an allowed thing")
    popped = await work.pop(horde, bob, image_pop(blacklist=["forbidden"]), "127.0.0.1")
    assert popped.jobs == ()
    assert popped.skipped["blacklist"] == 1


async def test_a_lane_is_forgotten_only_when_nothing_is_in_it(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    (job_id,) = await take(horde, bob)
    empty = await stored.open_lane(horde.statements, Needs(kind="image", models=("invented",)))
    await prune_lanes.run(horde)
    assert await horde.pool.fetchval("select count(*) from lanes") == 2
    await horde.pool.execute("update lanes set used_at = used_at - $1::interval", timedelta(days=2))
    await prune_lanes.run(horde)
    assert await horde.pool.fetchval("select count(*) from lanes") == 1
    assert not await stored.lanes_by_id(horde.statements, [empty])
    await work.give_up(horde, job_id, outcome="faulted")
    assert len(await take(horde, bob)) == 1


async def test_a_queue_that_heard_nothing_finds_what_waits(horde: Horde, cast: Cast) -> None:
    alice = await cast.alice()
    deaf = Queue(horde.statements, Signals("", horde.queries))
    await deaf.start()
    await ask(horde, alice)
    lane = await horde.pool.fetchval("select lane from jobs")
    needs = (await stored.lanes_by_id(horde.statements, [lane]))[lane]
    offer = Offer(
        kind="image",
        words=frozenset(needs.words),
        sizes_max=dict(needs.sizes),
        models=frozenset({"stable_diffusion"}),
    )
    fitting = Fitting(offer)
    assert deaf.fitting(fitting) == []
    await deaf.look(fitting)
    assert deaf.fitting(fitting) == [lane]


@pytest.mark.parametrize("lanes", [3, 600])
async def test_a_look_finds_few_lanes_and_many(horde: Horde, cast: Cast, lanes: int) -> None:
    alice = await cast.alice()
    await horde.pool.execute(
        "insert into lanes (kind, signature, words, sizes, models, workers, workers_excluded)"
        " select 'image', 'lane ' || number, '{}', jsonb_build_object('pixels', number), '{}',"
        " '{}', false"
        " from generate_series(1, $1) as number",
        lanes,
    )
    await ask(horde, alice)
    await horde.pool.execute(
        "insert into jobs (id, request_id, kind, lane, rank, user_id, ordinal, things)"
        " select gen_random_uuid(), request_id, jobs.kind, lanes.id, lanes.id, user_id, 1, things"
        " from jobs, lanes where lanes.signature like 'lane %'"
    )
    queue = Queue(horde.statements, horde.signals)
    fitting = Fitting(Offer(kind="image", sizes_max={"pixels": lanes}))
    await queue.look(fitting)
    expected = await horde.pool.fetch(
        "select id from lanes where signature like 'lane %' order by id limit 16"
    )
    assert queue.fitting(fitting) == [row["id"] for row in expected]


async def test_cancelling_gives_the_place_back(horde: Horde, cast: Cast) -> None:
    alice = await cast.alice()
    first = await ask(horde, alice)
    await requests.cancel(horde, first)
    tags = await horde.pool.fetchrow("select start_tag, finish_tag from requests")
    assert tags["start_tag"] == tags["finish_tag"]


async def test_giving_up_what_was_cancelled_is_no_failure(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice)
    (job_id,) = await take(horde, bob)
    await requests.cancel(horde, request_id)
    await work.deliver(horde, bob, delivery(job_id, faulted=True))
    assert await horde.pool.fetchval("select state from jobs") == "faulted"
    assert await horde.pool.fetchval("select count(*) from deliveries_uncounted") == 0
    assert await horde.pool.fetchval("select ended_at is not null from requests")


async def test_what_another_process_changed_is_not_taken_from_memory(
    horde: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    (job_id,) = await take(horde, bob)
    elsewhere = replace(horde, assignments=Assignments())
    await work.give_up(elsewhere, job_id, outcome="overdue")
    with pytest.raises(Refusal, match="AbortedGen"):
        await work.deliver(horde, bob, delivery(job_id))
    (job_id,) = await take(horde, bob)
    charlie = await cast.make("Charlie")
    with pytest.raises(Refusal, match="WrongCredentials"):
        await work.deliver(horde, charlie, delivery(job_id))
    assert await work.deliver(horde, bob, delivery(job_id)) > 0
    with pytest.raises(Refusal, match="DuplicateGen"):
        await work.deliver(horde, bob, delivery(job_id))


async def test_one_worker_far_ahead_does_not_move_virtual_time(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    for name, rank in (("first", 10**6), ("second", 10**6 + 1), ("special", 10**12)):
        request_id = await ask(horde, alice)
        await horde.pool.execute(
            "update jobs set rank = $2 where request_id = $1", request_id, rank
        )
        assert await take(horde, bob, name=name)
    restarted = Queue(horde.statements, horde.signals)
    await restarted.start()
    for queue in (horde.queue, restarted):
        assert queue.virtual_time("image") == 10**6 + 1
