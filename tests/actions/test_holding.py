# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker says with its pops which jobs it holds; what it has lost goes back at once."""

import asyncio
from random import Random
from uuid import UUID

import pytest
from cast import Cast, ask, delivery, image_pop
from text_cast import text_pop

from openhorde.server.actions import waiting, work
from openhorde.server.actions.horde import Horde
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store.users import Account
from openhorde.server.store.work import RETURNS_MAX
from openhorde.server.tasks import count_deliveries


@pytest.fixture(autouse=True)
def always_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pop looks for what its worker has lost."""
    monkeypatch.setattr(work, "RECOVER_SECONDS", -1.0)


async def take(
    horde: Horde, owner: Account, holding: list[UUID] | None, name: str = "Bob's machine"
) -> list[UUID]:
    """The jobs that a pop brings."""
    said = image_pop(name=name, holding=None if holding is None else [str(job) for job in holding])
    return [job.id for job in (await work.pop(horde, owner, said, "127.0.0.1")).jobs]


async def running(horde: Horde) -> set[UUID]:
    """The jobs that workers have."""
    return {
        row["id"] for row in await horde.pool.fetch("select id from jobs where state = 'running'")
    }


async def test_what_a_worker_lost_goes_to_others_and_what_it_holds_does_not(
    horde: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    for _ in range(3):
        await ask(horde, alice)
    (lost,) = await take(horde, bob, [])
    (held,) = await take(horde, bob, [lost])
    (other,) = await take(horde, bob, None, name="another")
    assert await running(horde) == {lost, held, other}
    # It takes the lost one itself, as nobody else has asked meanwhile.
    assert await take(horde, bob, [held]) == [lost]
    assert await running(horde) == {lost, held, other}
    assert await horde.pool.fetchval("select returns from jobs where id = $1", lost) == 1


@pytest.mark.parametrize("holding", [None, ["no id at all"], []])
async def test_whoever_says_nothing_loses_nothing(
    horde: Horde, cast: Cast, holding: list[str] | None
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    (job,) = await take(horde, bob, None)
    said = image_pop(holding=holding)
    popped = await work.pop(horde, bob, said, "127.0.0.1")
    assert [each.id for each in popped.jobs] == ([] if holding is None else [job])
    text = text_pop(name="Bob's scribe", holding=[])
    assert not (await work.pop(horde, bob, text, "127.0.0.1")).jobs
    assert await running(horde) == {job}


async def test_a_worker_that_waits_gives_back_what_it_lost_first(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    (lost,) = await take(horde, bob, None)

    async def stays() -> None:
        await asyncio.Event().wait()

    said = image_pop(holding=[], wait=30)
    popped = await waiting.pop(horde, bob, said, "127.0.0.1", stays)
    assert [job.id for job in popped.jobs] == [lost]


async def test_it_is_no_fault_but_has_an_end(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    (job,) = await take(horde, bob, [])
    for _ in range(RETURNS_MAX):
        assert await take(horde, bob, []) == [job]
    assert await take(horde, bob, []) == []
    await count_deliveries.run(horde)
    assert await horde.pool.fetchval("select uncompleted_jobs from workers") == 0
    assert await running(horde) == {job}


async def test_a_result_of_a_job_that_went_back_is_not_paid(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    (job,) = await take(horde, bob, None)
    await horde.pool.execute("update workers set maintenance = true")
    horde.check_ins.forget_all()
    with pytest.raises(Refusal, match="WorkerMaintenance"):
        await take(horde, bob, [])
    with pytest.raises(Refusal, match="InvalidJobID"):
        await work.deliver(horde, bob, delivery(job))
    assert await take(horde, bob, None, name="another") == [job]
    assert await work.deliver(horde, bob, delivery(job)) > 0


@pytest.mark.parametrize("seed", range(3))
async def test_no_job_is_lost_or_paid_twice(horde: Horde, cast: Cast, seed: int) -> None:
    """Workers take, deliver, forget and come again in any order, and each tells what it holds."""
    random = Random(seed)
    alice, bob = await cast.alice(), await cast.bob()
    held: dict[str, list[UUID]] = {"one": [], "two": [], "three": []}
    lost: list[UUID] = []
    paid: list[UUID] = []
    for _ in range(6):
        await ask(horde, alice)
    for _ in range(60):
        name = random.choice(list(held))
        match random.choice(("pop", "pop", "deliver", "lose", "late")):
            case "pop":
                held[name] += await take(horde, bob, held[name], name=name)
            case "deliver" if held[name]:
                job = held[name].pop()
                await work.deliver(horde, bob, delivery(job))
                paid.append(job)
            case "lose" if held[name]:
                lost.append(held[name].pop())
            case "late" if lost:
                job = random.choice(lost)
                if all(job not in jobs for jobs in held.values()):
                    try:
                        await work.deliver(horde, bob, delivery(job))
                    except Refusal:
                        pass
                    else:
                        paid.append(job)
        for jobs in held.values():
            assert set(jobs) <= await running(horde)
        assert len(paid) == len(set(paid))
    open_or_done = "select count(*) from jobs where state in ('waiting', 'running', 'done')"
    assert await horde.pool.fetchval(open_or_done) == 6
    done = {row["id"] for row in await horde.pool.fetch("select id from jobs where state = 'done'")}
    assert done == set(paid)
