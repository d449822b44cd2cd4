# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a requester hears of the prospects of a request."""

from typing import Any

from cast import CLIENT, Cast, ask, delivery, image_request, take

from openhorde.server.actions import requests, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.requests import Priced, Queued
from openhorde.server.store.users import Account

LARGE = {"width": 1024, "height": 1024, "steps": 4}
SMALL = {"max_pixels": 512 * 512}


async def submit(horde: Horde, account: Account, **changes: Any) -> Queued | Priced:
    return await requests.submit(horde, account, image_request(**changes), CLIENT)


async def test_with_nobody_online_that_is_said(horde: Horde, cast: Cast) -> None:
    outcome = await submit(horde, await cast.alice())
    assert isinstance(outcome, Queued)
    assert outcome.outlook.eta is None
    assert outcome.outlook.variant is None
    assert outcome.message == (
        "No worker is online that does this kind of work."
        " It stays in the queue for 20 minutes in case one comes."
    )


async def test_the_nearest_variant_is_told_and_runs(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await take(horde, bob, **SMALL)
    outcome = await submit(horde, alice, params=LARGE)
    assert isinstance(outcome, Queued)
    assert outcome.message == (
        "No worker that is online now can do this request."
        " 1 of 1 worker online does not make pictures as large as this one."
        " It would run with params.width 512 and params.height 512."
        " It stays in the queue for 20 minutes in case one comes."
    )
    assert outcome.warnings[-1].message == outcome.message
    assert await take(horde, bob, **SMALL) == []
    assert outcome.outlook.variant is not None
    changes = {
        path.removeprefix("params."): side for path, side in outcome.outlook.variant.changes.items()
    }
    outcome = await submit(horde, alice, params=LARGE | changes)
    assert isinstance(outcome, Queued)
    assert outcome.outlook.is_possible
    assert outcome.message is None
    assert len(await take(horde, bob, **SMALL)) == 1


async def test_a_dry_run_tells_what_rules_workers_out_even_when_others_fit(
    horde: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await take(horde, bob)
    await take(horde, bob, name="other", models=["another"])
    priced = await submit(horde, alice, dry_run=True)
    assert isinstance(priced, Priced)
    assert priced.warnings == ()
    assert priced.outlook.fitting == 1
    assert [(each.reason, each.workers) for each in priced.outlook.obstacles] == [("models", 1)]
    assert priced.outlook.eta is not None
    queued = await submit(horde, alice)
    assert isinstance(queued, Queued)
    assert queued.outlook.obstacles == ()
    priced = await submit(horde, alice, dry_run=True, models=["absent"])
    assert [warning.code for warning in priced.warnings] == ["NoAvailableWorker"]
    assert await horde.pool.fetchval("select count(*) from lanes") == 1


async def test_who_waits_behind_more_work_waits_longer(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await take(horde, bob)
    first = (await submit(horde, alice)).outlook.eta
    for _ in range(3):
        await ask(horde, await cast.alice(), params=LARGE | {"n": 5})
    waiting = 0
    while waiting < 16:  # The process sees the others' work some moments later.
        waiting = (await horde.queue.snapshot()).jobs()
    horde.workforce.forget()  # What was forecast before is not asked again.
    last = (await submit(horde, alice)).outlook.eta
    assert first is not None
    assert last is not None
    assert last.p50_seconds > first.p50_seconds
    assert last.p90_seconds > first.p90_seconds


async def test_a_worker_that_is_busy_makes_others_wait(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await take(horde, bob)
    idle = (await submit(horde, alice, dry_run=True)).outlook.eta
    await ask(horde, alice, params=LARGE | {"steps": 500})
    (job_id,) = await take(horde, bob)
    horde.workforce.forget()
    busy = (await submit(horde, alice, dry_run=True)).outlook.eta
    assert idle is not None
    assert busy is not None
    assert busy.p50_seconds > idle.p50_seconds
    await work.deliver(horde, bob, delivery(job_id))
    horde.workforce.forget()
    assert (await horde.workforce.roster()).hands[0].busy == 0


async def test_what_was_found_stays_while_the_workers_offer_the_same(
    horde: Horde, cast: Cast
) -> None:
    bob = await cast.bob()
    await take(horde, bob)
    first = await horde.workforce.roster()
    horde.workforce.forget()
    second = await horde.workforce.roster()
    assert second is not first
    assert second.judged_for(first.offers) is first.judged_for(first.offers)
    await take(horde, bob, name="other", models=["another"])
    third = await horde.workforce.roster()
    assert len(third.offers) == 2
    assert third.judged_for(first.offers) is None
