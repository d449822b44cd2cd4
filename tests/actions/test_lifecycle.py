# SPDX-License-Identifier: AGPL-3.0-or-later
"""A request's whole way: submitted, popped, delivered, paid."""

from cast import Cast, ask, delivery, take

from openhorde.server.actions import requests, work
from openhorde.server.actions.horde import Horde
from openhorde.server.store import kudos
from openhorde.server.tasks import count_deliveries, fold_ledger


async def test_a_job_is_done_and_paid_once(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice)
    waiting = await requests.check(horde, request_id)
    assert (waiting.life.waiting, waiting.queue_position) == (1, 1)
    (job_id,) = await take(horde, bob)
    running = await requests.check(horde, request_id)
    assert (running.life.processing, running.queue_position) == (1, 0)
    reward_milli = await work.deliver(horde, bob, delivery(job_id))
    done = await requests.check(horde, request_id)
    assert done.life.done
    assert done.life.finished == 1
    assert reward_milli > 0
    await fold_ledger.run(horde)
    await count_deliveries.run(horde)
    assert await kudos.ledger_totals(horde.statements) == (0, 0)
    assert await kudos.drifting_accounts(horde.statements) == []
    left_milli = await kudos.available_milli(horde.statements, alice.id)
    assert left_milli == 100_000_000 - done.kudos_milli
