# SPDX-License-Identifier: AGPL-3.0-or-later
"""Forms of alchemy, each a job of its own: asked, taken several at a time, paid, given up alone."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from actions.test_work import sound
from cast import (
    CLIENT,
    Cast,
    alchemy_pop,
    alchemy_request,
    ask,
    ask_forms,
    form_delivery,
    image_pop,
    picture_text,
    take,
    take_forms,
)

from openhorde.server.actions import requests, waiting, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.requests import Priced
from openhorde.server.api.v2.alchemy_shown import alchemy_shown
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store.users import Account
from openhorde.server.tasks import count_deliveries, expire_requests, sweep_overdue
from openhorde.wire.alchemy import AlchemyStatus

RESULTS: dict[str, Any] = {
    "caption": {"caption": "a red circle"},
    "nsfw": {"nsfw": False},
    "interrogation": {"interrogation": {"tags": [{"text": "red", "confidence": 0.9}]}},
    "GFPGAN": {"GFPGAN": picture_text()},
}


async def status(horde: Horde, request_id: UUID) -> AlchemyStatus:
    """As its requester sees it."""
    return await alchemy_shown(horde, *await requests.read(horde, request_id, "alchemy"))


def told(shown: AlchemyStatus) -> dict[str, str]:
    """The state of each form."""
    return {form.form: form.state for form in shown.forms}


async def balance(horde: Horde, account: Account) -> int:
    """What somebody has, in millikudos, once all is folded."""
    await sound(horde)
    return int(
        await horde.pool.fetchval(
            "select balance_milli from accounts where number = $1", 2 * account.id
        )
    )


async def test_every_form_arrives_on_its_own_and_costs_what_it_is_worth(
    horde: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    before = await balance(horde, alice)
    forms = ("caption", "interrogation", "GFPGAN")
    request_id = await ask_forms(
        horde, alice, *forms, source_image=picture_text(700, 500), slow_workers=True
    )
    taken = await take_forms(horde, bob, *forms, amount=2)
    assert len(taken) == 2
    rewards = {}
    for name, job_id in taken:
        rewards[name] = await work.deliver(horde, bob, form_delivery(job_id, RESULTS[name]))
    shown = await status(horde, request_id)
    assert shown.state == "waiting"
    assert told(shown) == {"caption": "done", "interrogation": "done", "GFPGAN": "waiting"}
    assert shown.forms[0].result == RESULTS["caption"]
    assert shown.forms[2].result is None
    ((name, job_id),) = await take_forms(horde, bob, *forms, amount=2)
    rewards[name] = await work.deliver(horde, bob, form_delivery(job_id, RESULTS[name]))
    shown = await status(horde, request_id)
    assert shown.state == "done"
    assert shown.forms[2].result is not None
    assert shown.forms[2].result["GFPGAN"].startswith(f"http://horde.test/blobs/{job_id}-")
    assert rewards == {"caption": 1000, "interrogation": 3000, "GFPGAN": 6000}
    assert before - await balance(horde, alice) == 1000 + 3000 + 6000 + 3 * 1000
    held = await horde.pool.fetchval(
        "select count(*) from requests where ended_at is null and id = $1", request_id
    )
    assert held == 0


async def test_a_pop_takes_forms_of_several_requests_best_first(horde: Horde, cast: Cast) -> None:
    alice, charlie, bob = (
        await cast.alice(),
        await cast.make("Charlie", kudos=100),
        await cast.bob(),
    )
    first = await ask_forms(horde, alice, "caption", "nsfw")
    second = await ask_forms(horde, charlie, "caption", "interrogation")
    taken = await take_forms(horde, bob, "caption", "nsfw", amount=20)
    assert sorted(name for name, _ in taken) == ["caption", "caption", "nsfw"]
    assert told(await status(horde, first)) == {"caption": "processing", "nsfw": "processing"}
    assert told(await status(horde, second)) == {
        "caption": "processing",
        "interrogation": "waiting",
    }
    assert await take_forms(horde, bob, "caption", "nsfw", amount=20) == []


async def test_many_alchemists_at_once_share_out_all_forms(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    for _ in range(10):
        await ask_forms(horde, alice, "caption", "nsfw", "interrogation", "GFPGAN")
    given: list[UUID] = []

    async def alchemist(number: int) -> None:
        names = ("caption", "nsfw", "interrogation", "GFPGAN")
        while taken := await take_forms(horde, bob, *names, name=f"alchemist {number}", amount=3):
            assert len(taken) <= 3
            given.extend(job_id for _, job_id in taken)

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(alchemist(number))
    assert len(given) == len(set(given)) == 40


async def test_owner_and_priority_users_come_first(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    charlie = await cast.make("Charlie")
    for _ in range(6):
        await ask_forms(horde, alice, "caption")
    await ask_forms(horde, bob, "caption")
    await ask_forms(horde, charlie, "caption", "nsfw")
    names = ("caption", "nsfw")
    popped = await work.pop(
        horde,
        bob,
        alchemy_pop(*names, amount=3, priority_usernames=[charlie.alias]),
        "127.0.0.1",
    )
    assert {job.user_id for job in popped.jobs} == {bob.id, charlie.id}
    assert len(popped.jobs) == 3


async def test_a_resting_alchemist_serves_its_owner_alone(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    assert await take_forms(horde, bob, "caption") == []
    await horde.pool.execute("update workers set maintenance = true")
    horde.check_ins.forget_all()
    await ask_forms(horde, alice, "caption")
    await ask_forms(horde, bob, "caption")
    popped = await work.pop(horde, bob, alchemy_pop("caption", amount=5), "127.0.0.1")
    assert [job.user_id for job in popped.jobs] == [bob.id]
    with pytest.raises(Refusal, match="WorkerMaintenance"):
        await take_forms(horde, bob, "caption", amount=5)


async def test_the_fourth_failure_ends_a_form_alone(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    before = await balance(horde, alice)
    request_id = await ask_forms(horde, alice, "caption", "nsfw")
    why = {"type": "information", "value": "see_ref", "ref": "the model is gone"}
    for attempt in range(4):
        assert told(await status(horde, request_id))["nsfw"] == "waiting"
        ((_, job_id),) = await take_forms(horde, bob, "nsfw")
        faulted = form_delivery(job_id, state="faulted", gen_metadata=[why])
        assert await work.deliver(horde, bob, faulted) == 0, attempt
    assert await take_forms(horde, bob, "nsfw") == []
    shown = await status(horde, request_id)
    assert shown.state == "waiting"
    assert told(shown) == {"caption": "waiting", "nsfw": "faulted"}
    assert shown.forms[1].reason == "the model is gone"
    check = await requests.check(horde, request_id)
    assert (check.life.done, check.life.faulted, check.life.restarted) == (False, False, 4)
    ((_, job_id),) = await take_forms(horde, bob, "caption")
    await work.deliver(horde, bob, form_delivery(job_id, RESULTS["caption"]))
    shown = await status(horde, request_id)
    assert (shown.state, told(shown)) == ("partial", {"caption": "done", "nsfw": "faulted"})
    assert (await requests.check(horde, request_id)).life.done
    assert before - await balance(horde, alice) == 2000


async def test_a_request_of_which_every_form_failed_has_failed(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    before = await balance(horde, alice)
    request_id = await ask_forms(horde, alice, "caption", "nsfw")
    for _ in range(8):
        ((_, job_id),) = await take_forms(horde, bob, "caption", "nsfw")
        await work.deliver(horde, bob, form_delivery(job_id, state="faulted"))
    assert (await status(horde, request_id)).state == "faulted"
    check = await requests.check(horde, request_id)
    assert (check.life.done, check.life.faulted) == (True, True)
    row = await horde.pool.fetchrow("select state, ended_at from requests")
    assert row is not None
    assert row["state"] == "faulted"
    assert row["ended_at"] is not None
    assert await balance(horde, alice) == before


async def test_a_form_that_takes_too_long_is_tried_again(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask_forms(horde, alice, "caption", "nsfw")
    popped = await work.pop(horde, bob, alchemy_pop("caption", "nsfw", amount=2), "127.0.0.1")
    assert [job.ttl_seconds for job in popped.jobs] == [180, 180]
    waits = "extract(epoch from deadline_at - popped_at)::int"
    assert await horde.pool.fetchval(f"select max({waits}) from jobs") == 180
    await horde.pool.execute("update jobs set deadline_at = now() - interval '1 second'")
    await sweep_overdue.run(horde)
    assert told(await status(horde, request_id)) == {"caption": "waiting", "nsfw": "waiting"}
    with pytest.raises(Refusal, match="AbortedGen"):
        await work.deliver(horde, bob, form_delivery(popped.jobs[0].id, RESULTS["caption"]))
    await sound(horde)


async def test_junk_is_refused_and_nothing_is_lost(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask_forms(horde, alice, "caption")
    ((_, job_id),) = await take_forms(horde, bob, "caption")
    for junk in (None, {"nsfw": True}, {"caption": 5}, "junk"):
        with pytest.raises(Refusal, match="BadRequest"):
            await work.deliver(horde, bob, form_delivery(job_id, junk))
    assert told(await status(horde, request_id)) == {"caption": "processing"}
    assert await work.deliver(horde, bob, form_delivery(job_id, RESULTS["caption"])) == 1000
    with pytest.raises(Refusal, match="DuplicateGen"):
        await work.deliver(horde, bob, form_delivery(job_id, RESULTS["caption"]))
    await sound(horde)


async def test_what_is_left_is_cancelled_and_what_runs_may_still_come(
    horde: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    before = await balance(horde, alice)
    request_id = await ask_forms(horde, alice, "caption", "nsfw", "interrogation")
    ((_, done),) = await take_forms(horde, bob, "caption")
    await work.deliver(horde, bob, form_delivery(done, RESULTS["caption"]))
    ((_, running),) = await take_forms(horde, bob, "nsfw")
    await requests.cancel(horde, request_id, "alchemy")
    shown = await status(horde, request_id)
    assert told(shown) == {"caption": "done", "nsfw": "cancelled", "interrogation": "cancelled"}
    assert await take_forms(horde, bob, "interrogation") == []
    assert await work.deliver(horde, bob, form_delivery(running, RESULTS["nsfw"])) == 1000
    assert told(await status(horde, request_id))["nsfw"] == "done"
    assert before - await balance(horde, alice) == 4000


async def test_forms_that_nobody_does_are_ended_in_time(horde: Horde, cast: Cast) -> None:
    alice = await cast.alice()
    request_id = await ask_forms(horde, alice, "caption")
    await horde.pool.execute(
        "update requests set created_at = created_at - $1::interval", timedelta(hours=1)
    )
    await expire_requests.run(horde)
    shown = await status(horde, request_id)
    assert (shown.state, shown.forms[0].reason) == ("faulted", "No worker did it in time.")
    await sound(horde)


async def test_kinds_do_not_see_each_other(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    image = await ask(horde, alice)
    forms = await ask_forms(horde, alice, "caption", "nsfw")
    with pytest.raises(Refusal, match="RequestNotFound"):
        await requests.read(horde, image, "alchemy")
    with pytest.raises(Refusal, match="RequestNotFound"):
        await requests.cancel(horde, forms, "image")
    ((_, form_id),) = await take_forms(horde, bob, "caption")
    (image_id,) = await take(horde, bob)
    with pytest.raises(Refusal, match="InvalidJobID"):
        await work.deliver(horde, bob, form_delivery(image_id, RESULTS["caption"]))
    with pytest.raises(Refusal, match="PolymorphicNameConflict"):
        await work.pop(horde, bob, image_pop(name="Bob's alchemist"), "127.0.0.1")
    idle = await work.pop(horde, bob, image_pop(name="idle"), "127.0.0.1")
    assert (idle.jobs, idle.skipped) == ((), {})
    assert await work.deliver(horde, bob, form_delivery(form_id, RESULTS["caption"])) == 1000


async def test_a_worker_is_told_why_forms_are_not_for_it(horde: Horde, cast: Cast) -> None:
    alice = await cast.alice()
    charlie = await cast.make("Charlie")
    await ask_forms(horde, alice, "caption", "nsfw", trusted_workers=True)
    await ask_forms(horde, alice, "GFPGAN", source_image=picture_text(1100, 600))
    expected = {"untrusted": 2, "forms": 2, "max_tiles": 1}
    pop = alchemy_pop("caption", max_tiles=5)
    async with asyncio.timeout(30):
        while (popped := await work.pop(horde, charlie, pop, "127.0.0.1")).skipped != expected:
            assert popped.jobs == ()


async def test_alchemy_may_wait_ten_times_as_much(horde: Horde, cast: Cast) -> None:
    alice = msgspec.structs.replace(await cast.alice(), concurrency=1)
    names = ("caption", "nsfw", "interrogation", "palette", "describe")
    await ask_forms(horde, alice, *names)
    await ask_forms(horde, alice, *names)
    with pytest.raises(Refusal, match="TooManyPrompts") as refusal:
        await ask_forms(horde, alice, "caption")
    assert refusal.value.facts["maximum"] == 10
    # What waits of another kind does not count.
    await ask(horde, alice)
    with pytest.raises(Refusal, match="TooManyPrompts"):
        await ask(horde, alice)


async def test_a_dry_run_prices_what_the_picture_takes(horde: Horde, cast: Cast) -> None:
    alice = await cast.alice()
    asked = alchemy_request("GFPGAN", "caption", dry_run=True, source_image=picture_text(1025, 512))
    priced = await requests.submit(horde, alice, asked, CLIENT)
    assert isinstance(priced, Priced)
    assert priced.kudos_milli == 9000 + 1000 + 2000
    assert [line.label for line in priced.lines] == ["GFPGAN", "caption", "tax of 2 forms"]
    assert not priced.outlook.is_possible
    assert await horde.pool.fetchval("select count(*) from requests") == 0


async def test_a_request_is_as_possible_as_the_least_possible_of_its_forms(
    horde: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await take_forms(horde, bob, "caption")
    outcome = await requests.submit(horde, alice, alchemy_request("caption"), CLIENT)
    assert outcome.outlook.is_possible
    assert outcome.outlook.eta is not None
    outcome = await requests.submit(horde, alice, alchemy_request("caption", "nsfw"), CLIENT)
    assert not outcome.outlook.is_possible
    assert "does not do the form nsfw" in outcome.outlook.sentence


async def test_speed_is_told_in_seconds_per_form(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    for seconds in (1, 29):
        await ask_forms(horde, alice, "caption")
        ((_, job_id),) = await take_forms(horde, bob, "caption")
        await horde.pool.execute(
            "update jobs set popped_at = now() - $2::interval where id = $1",
            job_id,
            timedelta(seconds=seconds),
        )
        await work.deliver(horde, bob, form_delivery(job_id, RESULTS["caption"]))
    await count_deliveries.run(horde)
    speed = await horde.pool.fetchval("select speed from workers")
    assert 1 / speed == pytest.approx(15, rel=0.05)
    await ask_forms(horde, alice, "caption", slow_workers=False)
    horde.check_ins.forget_all()
    assert await take_forms(horde, bob, "caption") == []


async def test_an_alchemist_on_the_line_is_called(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    never = asyncio.Event()

    async def hung_up() -> None:
        await never.wait()

    pop = alchemy_pop("caption", "nsfw", amount=5, wait=60)
    waits = asyncio.create_task(waiting.pop(horde, bob, pop, "127.0.0.1", hung_up))
    async with asyncio.timeout(30):
        while not len(horde.waiters):  # noqa: ASYNC110 (there is nothing else to wait for)
            await asyncio.sleep(0)
    await ask_forms(horde, alice, "caption", "nsfw")
    popped = await waits
    assert sorted(job.model for job in popped.jobs) == ["caption", "nsfw"]
