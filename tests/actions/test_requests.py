# SPDX-License-Identifier: AGPL-3.0-or-later
"""Submitting, pricing and cancelling requests."""

import asyncio

import msgspec
import pytest
from cast import CLIENT, Cast, ask, delivery, image_pop, image_request, take

from openhorde.server.actions import requests, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.requests import Priced, Queued
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import kudos
from openhorde.server.tasks import fold_ledger


async def test_a_dry_run_explains_its_price_and_leaves_nothing(horde: Horde, cast: Cast) -> None:
    alice = await cast.alice()
    outcome = await requests.submit(horde, alice, image_request(dry_run=True), CLIENT)
    assert isinstance(outcome, Priced)
    assert sum(line.milli for line in outcome.lines) == outcome.kudos_milli
    assert await horde.pool.fetchval("select count(*) from requests") == 0


async def test_nobody_who_could_serve_is_said_but_the_request_waits(
    horde: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    outcome = await requests.submit(horde, alice, image_request(), CLIENT)
    assert isinstance(outcome, Queued)
    assert [warning.code for warning in outcome.warnings] == ["NoAvailableWorker"]
    assert not (await requests.check(horde, outcome.request_id)).is_possible
    assert len(await take(horde, bob)) == 1
    outcome = await requests.submit(horde, alice, image_request(), CLIENT)
    assert isinstance(outcome, Queued)
    assert outcome.message is None
    assert (await requests.check(horde, outcome.request_id)).is_possible


async def test_too_many_waiting_jobs_are_refused(horde: Horde, cast: Cast) -> None:
    charlie = msgspec.structs.replace(await cast.make("Charlie"), concurrency=3)
    params = {"width": 64, "height": 64, "steps": 1, "n": 2}
    await ask(horde, charlie, params=params)
    with pytest.raises(Refusal, match="TooManyPrompts"):
        await ask(horde, charlie, params=params)
    assert await horde.pool.fetchval("select count(*) from jobs") == 2


async def test_anonymous_jobs_are_counted_by_model(horde: Horde, cast: Cast) -> None:
    anonymous = msgspec.structs.replace(await cast.anonymous(), concurrency=1)
    await ask(horde, anonymous, models=["one"])
    await ask(horde, anonymous, models=["two"])
    with pytest.raises(Refusal, match="TooManyPrompts"):
        await ask(horde, anonymous, models=["two", "three"])


async def test_a_heavy_request_must_be_covered_and_not_twice(horde: Horde, cast: Cast) -> None:
    charlie = await cast.make("Charlie", kudos=200)
    heavy = {"params": {"width": 2048, "height": 2048, "steps": 30}}
    answers = await asyncio.gather(
        *(ask(horde, charlie, **heavy) for _ in range(5)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert {refusal.code for refusal in refused} == {"KudosUpfront"}
    assert len(refused) == 4
    assert await kudos.available_milli(horde.statements, charlie.id) >= 14_000


async def test_a_heavy_request_may_be_made_smaller(horde: Horde, cast: Cast) -> None:
    charlie = await cast.make("Charlie")
    heavy = {"params": {"width": 2048, "height": 2048, "steps": 100}, "models": []}
    with pytest.raises(Refusal, match="KudosUpfront"):
        await ask(horde, charlie, **heavy)
    await ask(horde, charlie, **heavy, allow_downgrade=True)
    body = msgspec.json.decode(await horde.pool.fetchval("select body from requests"))
    assert body["params"]["width"] <= 1024
    assert body["params"]["steps"] <= 30


async def test_cancelling_withdraws_what_waits_and_pays_what_runs(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    params = {"width": 64, "height": 64, "steps": 1, "n": 3}
    request_id = await ask(horde, alice, params=params)
    (job_id,) = await take(horde, bob)
    before, _ = await requests.cancel(horde, request_id)
    assert (before.life.waiting, before.life.processing) == (2, 1)
    assert await take(horde, bob) == []
    assert await work.deliver(horde, bob, delivery(job_id)) > 0
    after = await requests.check(horde, request_id)
    assert (after.life.finished, after.life.waiting, after.life.done) == (1, 0, True)
    await fold_ledger.run(horde)
    left_milli = await kudos.available_milli(horde.statements, alice.id)
    assert left_milli == 100_000_000 - after.kudos_milli
    assert await kudos.ledger_totals(horde.statements) == (0, 0)


async def test_users_take_turns(horde: Horde, cast: Cast) -> None:
    bob = await cast.bob()
    eager, modest = await cast.make("Eager"), await cast.make("Modest")
    params = {"width": 64, "height": 64, "steps": 1}
    for _ in range(6):
        await ask(horde, eager, params=params)
    first_of_modest = await ask(horde, modest, params=params)
    served = []
    for _ in range(3):
        popped = await work.pop(horde, bob, image_pop(), "127.0.0.1")
        served.append(popped.jobs[0].request_id)
    assert first_of_modest in served[:2]
