# SPDX-License-Identifier: AGPL-3.0-or-later
"""A job that gets further lives longer: who reports steps is not given up for being slow."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cast import Cast, ask, ask_forms, delivery, form_delivery, take, take_forms
from text_cast import ask_text, take_text, text_delivery

from openhorde.server.actions import requests, steps, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.steps import StepReports
from openhorde.server.actions.work import Delivery
from openhorde.server.domain.lives import LIVES_MAX, PROLONGED_SHARE, STRIDE_SHARE
from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.clock import FixedClock
from openhorde.server.store.users import Account
from openhorde.server.tasks import sweep_overdue

KINDS = ("image", "text", "alchemy")
STEPS = 1_000
EARLY = 0.9
"""The part of a prolonged job's time after which its worker reports again."""


async def ask_of(kind: str, horde: Horde, account: Account) -> UUID:
    if kind == "alchemy":
        return await ask_forms(horde, account, "caption")
    return await (ask if kind == "image" else ask_text)(horde, account)


async def take_of(kind: str, horde: Horde, owner: Account) -> list[UUID]:
    name = f"{owner.alias}'s {kind}"
    if kind == "alchemy":
        return [job_id for _, job_id in await take_forms(horde, owner, "caption", name=name)]
    return await (take if kind == "image" else take_text)(horde, owner, name=name)


def delivery_of(kind: str, job_id: UUID) -> Delivery:
    if kind == "alchemy":
        return form_delivery(job_id, {"caption": "a red circle"})
    return (delivery if kind == "image" else text_delivery)(job_id)


@dataclass
class Watch:
    """A horde whose clock stands at the moment at which a job was handed out, until it is moved."""

    horde: Horde
    clock: FixedClock
    job_id: UUID
    owner: Account
    popped_at: datetime
    life: timedelta

    @classmethod
    async def over(cls, horde: Horde, job_id: UUID, owner: Account) -> "Watch":
        row = await horde.pool.fetchrow(
            "select popped_at, deadline_at - popped_at as life from jobs where id = $1", job_id
        )
        clock = FixedClock(row["popped_at"])
        watched = replace(horde, clock=clock)
        return cls(watched, clock, job_id, owner, row["popped_at"], row["life"])

    async def report(self, step: int) -> int | None:
        """The seconds that the job is said to have left: never more than it has."""
        left_seconds = await steps.report(self.horde, self.owner, self.job_id, step, STEPS)
        if left_seconds is not None:
            left = await self.deadline() - self.clock.now()
            assert 0 <= left_seconds <= max(0.0, left.total_seconds())
        return left_seconds

    def wait(self, lives: float) -> None:
        self.clock.advance(lives * self.life.total_seconds())

    async def runs(self, job_id: UUID | None = None) -> bool:
        """Is the job still with its worker, once those that are overdue were given up?"""
        await sweep_overdue.run(self.horde)
        state = await self.horde.pool.fetchval(
            "select state from jobs where id = $1", job_id or self.job_id
        )
        return bool(state == "running")

    async def deadline(self, job_id: UUID | None = None) -> datetime:
        found: datetime = await self.horde.pool.fetchval(
            "select deadline_at from jobs where id = $1", job_id or self.job_id
        )
        return found


@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_that_gets_further_outlives_its_deadline_and_is_paid_once(
    horde: Horde, cast: Cast, kind: str
) -> None:
    alice, bob, charlie = await cast.alice(), await cast.bob(), await cast.make("Charlie")
    request_id = await ask_of(kind, horde, alice)
    (job_id,) = await take_of(kind, horde, bob)
    watch = await Watch.over(horde, job_id, bob)
    watch.wait(EARLY)
    for step in range(1, 5):
        assert await watch.report(step) == PROLONGED_SHARE * watch.life.total_seconds()
        assert await watch.runs()
        watch.wait(EARLY * PROLONGED_SHARE)
    assert watch.clock.now() > watch.popped_at + 2 * watch.life
    assert await take_of(kind, horde, charlie) == []
    assert await work.deliver(watch.horde, bob, delivery_of(kind, job_id)) > 0
    with pytest.raises(Refusal, match="DuplicateGen"):
        await work.deliver(watch.horde, bob, delivery_of(kind, job_id))
    assert not await watch.runs()
    life = (await requests.check(horde, request_id)).life
    assert (life.finished, life.restarted, life.done) == (1, 0, True)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_that_gets_no_further_is_given_to_another_who_alone_is_paid(
    horde: Horde, cast: Cast, kind: str
) -> None:
    alice, bob, charlie = await cast.alice(), await cast.bob(), await cast.make("Charlie")
    request_id = await ask_of(kind, horde, alice)
    (job_id,) = await take_of(kind, horde, bob)
    watch = await Watch.over(horde, job_id, bob)
    watch.wait(EARLY)
    await watch.report(3)
    watch.wait(EARLY * PROLONGED_SHARE)
    assert await watch.runs()
    for step in (3, 2, 0):
        await watch.report(step)
    watch.wait(PROLONGED_SHARE)
    await watch.report(4)
    assert not await watch.runs(), "the same steps, or one that comes too late, prolong nothing"
    (again,) = await take_of(kind, horde, charlie)
    with pytest.raises(Refusal, match="AbortedGen"):
        await work.deliver(horde, bob, delivery_of(kind, job_id))
    assert await work.deliver(horde, charlie, delivery_of(kind, again)) > 0
    life = (await requests.check(horde, request_id)).life
    assert (life.finished, life.restarted) == (1, 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_holds_a_job_for_ever_and_the_database_is_asked_seldom(
    horde: Horde, cast: Cast, kind: str
) -> None:
    await ask_of(kind, horde, await cast.alice())
    bob = await cast.bob()
    (job_id,) = await take_of(kind, horde, bob)
    watch = await Watch.over(horde, job_id, bob)
    deadlines = {await watch.deadline()}
    step = 0
    while await watch.runs():
        step += 1
        assert step < STEPS, "the job never ends"
        deadlines.add(await watch.deadline())
        watch.wait(0.02)
        await watch.report(step)
    lasted = max(deadlines) - watch.popped_at
    assert (LIVES_MAX - STRIDE_SHARE) * watch.life < lasted <= LIVES_MAX * watch.life
    assert len(deadlines) <= 1 + LIVES_MAX / STRIDE_SHARE < step


async def test_a_job_with_time_enough_keeps_its_deadline(horde: Horde, cast: Cast) -> None:
    await ask(horde, await cast.alice())
    bob = await cast.bob()
    (job_id,) = await take(horde, bob)
    watch = await Watch.over(horde, job_id, bob)
    for step in range(1, 5):
        await watch.report(step)
        watch.wait(0.1)
    assert await watch.deadline() == watch.popped_at + watch.life


async def test_an_extra_slow_worker_begins_with_most_of_it(horde: Horde, cast: Cast) -> None:
    await ask(horde, await cast.alice(), extra_slow_workers=True)
    bob = await cast.bob()
    (job_id,) = await take(horde, bob, extra_slow_worker=True)
    watch = await Watch.over(horde, job_id, bob)
    assert watch.life == timedelta(seconds=3 * horde.settings.job_ttl_seconds_min)
    step = 0
    while await watch.runs():
        step += 1
        watch.wait(0.02)
        await watch.report(step)
    usual = watch.life / 3
    assert 3 * usual < await watch.deadline() - watch.popped_at <= LIVES_MAX * usual


async def test_a_batch_has_its_time_together(horde: Horde, cast: Cast) -> None:
    params = {"width": 64, "height": 64, "steps": 4, "n": 4}
    await ask(horde, await cast.alice(), params=params)
    bob = await cast.bob()
    first, *others = await take(horde, bob, amount=3)
    (apart,) = await take(horde, bob, amount=3)
    assert len(others) == 2
    watch = await Watch.over(horde, first, bob)
    watch.wait(EARLY)
    await watch.report(1)
    later = await watch.deadline()
    assert later == watch.clock.now() + PROLONGED_SHARE * watch.life
    assert [await watch.deadline(other) for other in others] == [later, later]
    assert not await watch.runs(apart)
    assert await watch.runs()


async def test_forms_have_their_time_apart(horde: Horde, cast: Cast) -> None:
    await ask_forms(horde, await cast.alice(), "caption", "nsfw")
    bob = await cast.bob()
    reported, silent = [
        job_id for _, job_id in await take_forms(horde, bob, "caption", "nsfw", amount=2)
    ]
    watch = await Watch.over(horde, reported, bob)
    watch.wait(EARLY)
    await watch.report(1)
    watch.wait(EARLY * PROLONGED_SHARE)
    assert (await watch.runs(), await watch.runs(silent)) == (True, False)


async def test_only_a_job_that_is_wanted_from_its_own_worker_is_prolonged(
    horde: Horde, cast: Cast
) -> None:
    request_id = await ask(horde, await cast.alice())
    bob = await cast.bob()
    (job_id,) = await take(horde, bob)
    watch = await Watch.over(horde, job_id, bob)
    watch.wait(EARLY)
    stranger = replace(watch, owner=await cast.make("Charlie"))
    with pytest.raises(Refusal, match="WrongCredentials"):
        await stranger.report(1)
    await requests.cancel(horde, request_id)
    assert await watch.report(2) is None
    assert await watch.deadline() == watch.popped_at + watch.life


async def test_two_processes_that_hear_of_a_job_put_it_off_once(horde: Horde, cast: Cast) -> None:
    await ask(horde, await cast.alice())
    bob = await cast.bob()
    (job_id,) = await take(horde, bob)
    watch = await Watch.over(horde, job_id, bob)
    elsewhere = replace(watch, horde=replace(watch.horde, step_reports=StepReports(horde.signals)))
    for each in (watch, elsewhere):
        await each.report(1)
    watch.wait(EARLY)
    await watch.report(2)
    later = await watch.deadline()
    watch.wait(STRIDE_SHARE / 2)
    for step in (2, 3):
        await elsewhere.report(step)
        assert await watch.deadline() == later
    watch.wait(STRIDE_SHARE)
    await elsewhere.report(4)
    assert await watch.deadline() > later


def test_steps_count_anew_when_a_job_is_handed_out_again(horde: Horde) -> None:
    job_id, popped_at = UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC)
    told = [
        (step, horde.step_reports.advances(job_id, popped_at, step)) for step in (0, 1, 1, 5, 3)
    ]
    assert told == [(0, False), (1, True), (1, False), (5, True), (3, False)]
    assert horde.step_reports.advances(job_id, popped_at + timedelta(seconds=1), 1)
