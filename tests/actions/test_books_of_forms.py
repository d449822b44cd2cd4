# SPDX-License-Identifier: AGPL-3.0-or-later
"""The books stay right whatever happens to requests whose jobs have different prices.

Many things are done at random, some of them cut off in the middle, as a process that dies cuts them
off; then what was booked is held against what became of every job.
"""

import asyncio
import contextlib
from random import Random
from typing import Any
from uuid import UUID

import pytest
from actions.test_work import sound
from cast import Cast, ask, ask_forms, delivery, form_delivery, picture_text, take, take_forms

from openhorde.server.actions import requests, work
from openhorde.server.actions.horde import Horde
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store.users import Account
from openhorde.server.tasks import count_deliveries, sweep_overdue

FORMS = ("caption", "nsfw", "interrogation", "GFPGAN", "RealESRGAN_x4plus")
VALUES: dict[str, Any] = {
    "caption": "a red circle",
    "nsfw": False,
    "interrogation": {"tags": []},
    "GFPGAN": picture_text(),
    "RealESRGAN_x4plus": picture_text(),
}
LARGE = picture_text(1500, 700)
STEPS = 120


class Bustle:
    """People who do all sorts of things at random; `given` are the forms in somebody's hands."""

    def __init__(self, horde: Horde, random: Random, alice: Account, bob: Account) -> None:
        self.horde = horde
        self.random = random
        self.alice = alice
        self.bob = bob
        self.asked: list[UUID] = []
        self.given: list[tuple[str, UUID]] = []
        self.pictures: list[UUID] = []

    async def ask(self) -> None:
        names = self.random.sample(FORMS, self.random.randint(1, len(FORMS)))
        changes: dict[str, Any] = {"slow_workers": self.random.random() < 0.8}
        if self.random.random() < 0.3:
            changes["source_image"] = LARGE
        self.asked.append(await ask_forms(self.horde, self.alice, *names, **changes))

    async def ask_pictures(self) -> None:
        await ask(self.horde, self.alice, params={"width": 64, "height": 64, "steps": 4, "n": 3})

    async def pop(self) -> None:
        amount = self.random.choice((1, 1, 2, 5, 20))
        self.given += await take_forms(self.horde, self.bob, *FORMS, amount=amount)

    async def draw(self) -> None:
        self.pictures += await take(self.horde, self.bob, amount=2)
        if self.pictures:
            await work.deliver(self.horde, self.bob, delivery(self.pictures.pop()))

    async def deliver(self) -> None:
        if self.given:
            name, job_id = self.random.choice(self.given)
            result = {name: VALUES[name]} if self.random.random() < 0.9 else {"junk": 1}
            await work.deliver(self.horde, self.bob, form_delivery(job_id, result))

    async def fail(self) -> None:
        if self.given:
            _, job_id = self.random.choice(self.given)
            await work.deliver(self.horde, self.bob, form_delivery(job_id, state="faulted"))

    async def cancel(self) -> None:
        if self.asked:
            await requests.cancel(self.horde, self.random.choice(self.asked))

    async def sweep(self) -> None:
        await self.horde.pool.execute(
            "update jobs set deadline_at = now() - interval '1 second'"
            " where state = 'running' and kind = 'alchemy' and random() < 0.5"
        )
        await sweep_overdue.run(self.horde)

    async def anything(self) -> None:
        """Do something; one time in five it is cut off."""
        doing = self.random.choices(
            (
                self.ask,
                self.ask_pictures,
                self.pop,
                self.draw,
                self.deliver,
                self.fail,
                self.cancel,
                self.sweep,
            ),
            (4, 1, 5, 2, 8, 3, 1, 1),
        )[0]
        task = asyncio.create_task(doing())
        if self.random.random() < 0.2:
            for _ in range(self.random.randint(1, 12)):
                await asyncio.sleep(0)
            task.cancel()
        with contextlib.suppress(Refusal, asyncio.CancelledError):
            await task


@pytest.mark.parametrize("seed", range(3))
async def test_what_was_booked_is_what_became_of_the_jobs(
    horde: Horde, cast: Cast, seed: int
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await horde.pool.execute("update users set concurrency = 1000")
    random = Random(seed)
    bustle = Bustle(horde, random, alice, bob)
    for _ in range(STEPS // 4):
        await asyncio.gather(*(bustle.anything() for _ in range(4)))
    while taken := await take_forms(horde, bob, *FORMS, amount=20, name="the last"):
        for name, job_id in taken:
            await work.deliver(horde, bob, form_delivery(job_id, {name: VALUES[name]}))
    await horde.pool.execute("update jobs set deadline_at = now() where state = 'running'")
    for _ in range(4):
        await sweep_overdue.run(horde)
        for name, job_id in await take_forms(horde, bob, *FORMS, amount=20, name="the last"):
            await work.deliver(horde, bob, form_delivery(job_id, {name: VALUES[name]}))
    await count_deliveries.run(horde)
    await sound(horde)
    await every_job_is_booked(horde)
    await every_form_has_one_end(horde)


async def every_job_is_booked(horde: Horde) -> None:
    """Done jobs were paid in full and once, others not at all; nothing ended holds anything."""
    rows = await horde.pool.fetch(
        "select j.state, j.price_milli, j.paid_milli, r.tax_each_milli,"
        " coalesce((select sum(amount_milli) from transfers t"
        "   where t.source_id = j.id and t.purpose in ('price', 'tax')), 0)::bigint as booked"
        " from jobs j join requests r on r.id = j.request_id"
    )
    assert sum(row["state"] == "done" for row in rows) > 20
    for row in rows:
        due = row["price_milli"] + row["tax_each_milli"] if row["state"] == "done" else 0
        assert (row["booked"], row["paid_milli"] or 0) == (due, due)
    held = await horde.pool.fetch(
        "select r.id, r.reserved_milli,"
        " sum(t.amount_milli) filter (where t.phase = 'posted') as spent,"
        " sum(t.amount_milli) filter (where t.phase = 'void') as released"
        " from requests r join transfers t on t.hold = r.id"
        " where r.ended_at is not null group by r.id"
    )
    assert len(held) > 5
    for row in held:
        assert (row["spent"] or 0) + (row["released"] or 0) == row["reserved_milli"]


async def every_form_has_one_end(horde: Horde) -> None:
    """No form is done twice, none waits for ever, and four failures are as many as it gets."""
    rows = await horde.pool.fetch(
        "select r.state as request, r.ended_at is not null as ended,"
        " count(*) filter (where j.state = 'done') as done,"
        " count(*) filter (where j.state = 'faulted') as faulted,"
        " count(*) filter (where j.state in ('waiting', 'running')) as open,"
        " count(*) filter (where j.state = 'cancelled') as cancelled"
        " from jobs j join requests r on r.id = j.request_id"
        " where j.kind = 'alchemy' group by r.id, r.state, j.ordinal, r.ended_at"
    )
    for row in rows:
        assert row["open"] == 0
        assert row["ended"]
        assert row["done"] + row["cancelled"] <= 1
        assert row["faulted"] <= 4
        if row["request"] == "active":
            assert row["done"] == 1 or row["faulted"] == 4
