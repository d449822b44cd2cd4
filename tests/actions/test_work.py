# SPDX-License-Identifier: AGPL-3.0-or-later
"""Popping, delivering and giving up jobs."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from cast import AGENT, Cast, ask, delivery, image_pop, skips, take

from openhorde.server.actions import requests, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.queue import Queue
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import kudos
from openhorde.server.tasks import count_deliveries, fold_ledger


async def sound(horde: Horde) -> None:
    """The ledger sums to zero and every balance is what its transfers say."""
    await fold_ledger.run(horde)
    assert await kudos.ledger_totals(horde.statements) == (0, 0)
    assert await kudos.drifting_accounts(horde.statements) == []


async def test_every_worker_hears_of_a_job_while_jobs_wait(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await horde.pool.execute("update users set concurrency = 1000")
    alice = msgspec.structs.replace(alice, concurrency=1000)
    for number in range(32):
        width = 64 + 64 * (number % 4)
        await ask(horde, alice, params={"width": width, "height": 64, "steps": 1, "n": 10})
    given: list[str] = []

    async def worker(number: int) -> None:
        while len(given) < 320:
            popped = await work.pop(horde, bob, image_pop(name=f"machine {number}"), "127.0.0.1")
            if not popped.jobs:
                # Nothing left: all were given out while this pop was under way.
                assert len(given) == 320 or not await waiting_jobs(horde)
                return
            given.extend(str(job.id) for job in popped.jobs)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(worker(number))
    assert len(given) == len(set(given)) == 320


async def waiting_jobs(horde: Horde) -> int:
    """How many jobs wait, as the database knows."""
    return int(await horde.pool.fetchval("select count(*) from jobs where state = 'waiting'"))


async def test_five_hundred_submits_at_once_succeed(horde: Horde, cast: Cast) -> None:
    alice = msgspec.structs.replace(await cast.alice(), concurrency=1000)
    async with asyncio.TaskGroup() as group:
        for _ in range(500):
            group.create_task(ask(horde, alice))
    assert await waiting_jobs(horde) == 500


async def test_a_result_is_taken_once(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    (job_id,) = await take(horde, bob)
    answers = await asyncio.gather(
        *(work.deliver(horde, bob, delivery(job_id)) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(answer, int) for answer in answers) == 1
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    assert [refusal.code for refusal in refusals] == ["DuplicateGen"] * 7
    await sound(horde)


async def test_only_the_owner_of_the_worker_may_deliver(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    (job_id,) = await take(horde, bob)
    with pytest.raises(Refusal, match="WrongCredentials"):
        await work.deliver(horde, alice, delivery(job_id))


async def test_a_failed_job_goes_to_the_front_again_and_three_end_the_request(
    horde: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice)
    for _ in range(3):
        (job_id,) = await take(horde, bob)
        assert await work.deliver(horde, bob, delivery(job_id, faulted=True)) == 0
    progress = await requests.check(horde, request_id)
    assert (progress.life.restarted, progress.life.faulted, progress.life.done) == (3, True, True)
    assert await take(horde, bob) == []
    await sound(horde)
    left_milli = await kudos.available_milli(horde.statements, alice.id)
    assert left_milli == 100_000_000 - progress.kudos_milli


async def test_a_late_result_of_a_given_up_job_is_refused(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice)
    (late,) = await take(horde, bob)
    await work.give_up(horde, late, outcome="overdue")
    with pytest.raises(Refusal, match="AbortedGen"):
        await work.deliver(horde, bob, delivery(late))
    (second,) = await take(horde, bob)
    assert second != late
    await work.deliver(horde, bob, delivery(second))
    assert (await requests.check(horde, request_id)).life.finished == 1
    await sound(horde)


async def test_a_censored_job_costs_the_tax_alone_and_pays_the_worker(
    horde: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice)
    (job_id,) = await take(horde, bob)
    note = {"type": "censorship", "value": "nsfw"}
    assert await work.deliver(horde, bob, delivery(job_id, gen_metadata=[note])) > 0
    progress, (job,) = await requests.read(horde, request_id)
    assert progress.kudos_milli == progress.facts.activation_milli + 1000
    assert job.result is not None
    assert job.result["censored"]
    await sound(horde)


async def test_a_batch_is_of_one_request_and_bounded(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    params = {"width": 64, "height": 64, "steps": 1}
    first = await ask(horde, alice, params=params | {"n": 3})
    await ask(horde, alice, params=params | {"n": 3})
    popped = await work.pop(horde, bob, image_pop(amount=5), "127.0.0.1")
    assert {job.request_id for job in popped.jobs} == {first}
    assert [job.ordinal for job in popped.jobs] == [1, 2, 3]


async def test_the_owner_comes_first_and_in_maintenance_alone(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    alices = await ask(horde, alice)
    bobs = await ask(horde, bob)
    (job,) = (await work.pop(horde, bob, image_pop(), "127.0.0.1")).jobs
    assert job.request_id == bobs
    await horde.pool.execute("update workers set maintenance = true, maintenance_message = 'rest'")
    horde.check_ins.forget("Bob's machine")
    with pytest.raises(Refusal, match="WorkerMaintenance"):
        await take(horde, bob)
    (job,) = (await work.pop(horde, alice, image_pop(name="other"), "127.0.0.1")).jobs
    assert job.request_id == alices


async def test_priority_users_come_before_others(horde: Horde, cast: Cast) -> None:
    alice, bob, carol = await cast.alice(), await cast.bob(), await cast.make("Carol")
    await ask(horde, alice)
    carols = await ask(horde, carol)
    pop = image_pop(priority_usernames=[carol.alias])
    (job,) = (await work.pop(horde, bob, pop, "127.0.0.1")).jobs
    assert job.request_id == carols


async def test_what_a_worker_lacks_is_counted(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice, params={"width": 512, "height": 512, "steps": 1})
    await ask(horde, alice, models=["another model"])
    await ask(horde, alice, prompt="a forbidden thing", nsfw=False)
    # A request of just the worker's limit is counted too.
    expected = {"max_pixels": 3, "models": 1, "nsfw": 2, "blacklist": 1}
    assert await skips(
        horde, bob, expected, max_pixels=64 * 64, nsfw=False, blacklist=["Forbidden"]
    )


async def test_a_refused_word_passes_the_job_by(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice, prompt="a Forbidden thing")
    allowed = await ask(horde, alice, prompt="a thing")
    pop = image_pop(blacklist=["forbidden"])
    (job,) = (await work.pop(horde, bob, pop, "127.0.0.1")).jobs
    assert job.request_id == allowed
    assert await skips(horde, bob, {"blacklist": 1}, blacklist=["forbidden"])


async def test_named_workers(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    assert await take(horde, bob, name="first") == []
    assert await take(horde, bob, name="second") == []
    ids = {row["name"]: str(row["id"]) for row in await horde.pool.fetch("select * from workers")}
    await ask(horde, alice, workers=[ids["first"].upper()])
    assert await take(horde, bob, name="second") == []
    assert len(await take(horde, bob, name="first")) == 1
    await ask(horde, alice, workers=[ids["first"]], worker_blacklist=True)
    assert await take(horde, bob, name="first") == []
    assert len(await take(horde, bob, name="second")) == 1


async def test_an_agent_that_can_do_little_gets_little(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    assert await skips(horde, bob, {"bridge_version": 1}, bridge_agent="unknown:0:x")
    assert len(await take(horde, bob, bridge_agent=AGENT)) == 1


async def test_models_that_nobody_knows_are_not_served(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    known = Reference.from_json({"stable_diffusion": {"baseline": "stable diffusion 1"}})
    strict = replace(horde, reference=known)
    with pytest.raises(Refusal, match="BadRequest"):
        await take(strict, bob, name="first", models=["my own"])
    await ask(strict, alice, models=["my own"])
    assert await take(strict, bob, name="second", models=["my own", "stable_diffusion"]) == []


async def test_a_job_that_failed_in_a_lane_unknown_here_is_found(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    (job_id,) = await take(horde, bob)
    queue = Queue(horde.statements, horde.signals)
    await queue.start()  # As after a restart, while the only job of its lane runs.
    restarted = replace(horde, queue=queue)
    await work.give_up(restarted, job_id, outcome="overdue")
    assert len(await take(restarted, bob)) == 1


async def test_words_that_block_whole_lanes_do_not_hide_the_next(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    for number in range(8):
        params = {"width": 64 * (number + 1), "height": 64, "steps": 1}
        await ask(horde, alice, params=params, prompt="a forbidden thing")
    allowed = await ask(horde, alice, params={"width": 64 * 9, "height": 64, "steps": 1})
    popped = await work.pop(horde, bob, image_pop(blacklist=["forbidden"]), "127.0.0.1")
    assert [job.request_id for job in popped.jobs] == [allowed]


@pytest.mark.parametrize("seed", range(6))
async def test_failing_and_cancelling_at_once_leave_nothing_waiting(
    horde: Horde, cast: Cast, seed: int
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    params = {"width": 64, "height": 64, "steps": 1, "n": 4}
    request_id = await ask(horde, alice, params=params)
    jobs = await take(horde, bob, amount=4)
    calls = [work.give_up(horde, job_id, outcome="faulted") for job_id in jobs]
    calls.insert(seed % 5, cancelled(horde, request_id))
    await asyncio.gather(*calls)
    await horde.pool.execute("update jobs set state = 'faulted' where state = 'running'")
    assert await waiting_jobs(horde) == 0
    await sound(horde)


async def cancelled(horde: Horde, request_id: UUID) -> None:
    """Cancel."""
    await requests.cancel(horde, request_id)


async def test_a_pop_that_cannot_be_answered_gives_its_jobs_back(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice)
    popped = await work.pop(horde, bob, image_pop(), "127.0.0.1")
    await work.take_back(horde, popped.jobs)
    assert (await requests.check(horde, request_id)).life.waiting == 1
    assert len(await take(horde, bob)) == 1


async def test_overdue_jobs_and_too_many_faults_rest_the_worker(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    for _ in range(21):
        await ask(horde, alice)
        (job_id,) = await take(horde, bob)
        await work.deliver(horde, bob, delivery(job_id, faulted=True))
        await horde.pool.execute("update jobs set state = 'cancelled' where state = 'waiting'")
    await count_deliveries.run(horde)
    horde.check_ins.forget("Bob's machine")
    with pytest.raises(Refusal, match="WorkerMaintenance"):
        await take(horde, bob)


async def test_idle_requests_expire_and_release_what_they_hold(horde: Horde, cast: Cast) -> None:
    from openhorde.server.tasks import expire_requests, purge_requests

    alice = await cast.alice()
    request_id = await ask(horde, alice)
    held_milli = 100_000_000 - await kudos.available_milli(horde.statements, alice.id)
    assert held_milli > 0
    long_ago = timedelta(hours=1)
    await horde.pool.execute("update requests set created_at = created_at - $1::interval", long_ago)
    await expire_requests.run(horde)
    progress = await requests.check(horde, request_id)
    assert (progress.facts.state, progress.life.waiting) == ("expired", 0)
    left_milli = await kudos.available_milli(horde.statements, alice.id)
    assert left_milli == 100_000_000 - progress.kudos_milli
    await horde.pool.execute("update requests set ended_at = ended_at - $1::interval", long_ago)
    await horde.pool.execute("update jobs set finished_at = finished_at - $1::interval", long_ago)
    await purge_requests.run(horde)
    with pytest.raises(Refusal, match="RequestNotFound"):
        await requests.check(horde, request_id)
    await sound(horde)
