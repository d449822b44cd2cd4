# SPDX-License-Identifier: AGPL-3.0-or-later
"""Duties that signals wake."""

import asyncio
from contextlib import suppress
from dataclasses import replace

from cast import Cast, ask, delivery, take
from tasks.receiver import Receiver

from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde
from openhorde.server.kit.ids import uuid7
from openhorde.server.store.signals import Changed
from openhorde.server.tasks import call_webhooks
from openhorde.server.tasks.rounds import Duty, keep


async def test_a_signal_wakes_a_duty_that_waits_for_it(horde: Horde, horde_database: str) -> None:
    patient = replace(horde, settings=replace(horde.settings, duty_seconds=3600.0))
    runs = {"woken": 0, "other": 0}
    news = asyncio.Condition()

    def counting(name: str) -> Duty:
        async def run(_horde: Horde) -> None:
            async with news:
                runs[name] += 1
                news.notify_all()

        return Duty(name, run, woken_by=Changed if name == "woken" else None)

    keeping = asyncio.create_task(
        keep(patient, horde_database, [counting("woken"), counting("other")])
    )
    async with asyncio.timeout(20), news:
        await news.wait_for(lambda: runs == {"woken": 1, "other": 1})
        for _ in range(3):
            patient.signals.send(Changed(uuid7()))
        await news.wait_for(lambda: runs["woken"] == 2)
        patient.signals.send(Changed(uuid7()))
        await news.wait_for(lambda: runs["woken"] == 3)
    assert runs["other"] == 1
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping


async def test_a_webhook_is_called_as_soon_as_its_job_is_delivered(
    calling_horde: Horde, horde_database: str, cast: Cast, receiver: Receiver
) -> None:
    settings = replace(calling_horde.settings, duty_seconds=3600.0)
    patient = replace(calling_horde, settings=settings)
    duty = Duty("call webhooks", call_webhooks.run, woken_by=Changed)
    keeping = asyncio.create_task(keep(patient, horde_database, [duty]))
    alice, bob = await cast.alice(), await cast.bob()
    for jobs in range(3):
        await ask(patient, alice, webhook=receiver.url())
        (job_id,) = await take(patient, bob)
        await work.deliver(patient, bob, delivery(job_id))
        await receiver.until_heard(jobs + 1)
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping
