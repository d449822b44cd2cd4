# SPDX-License-Identifier: AGPL-3.0-or-later
"""Editing accounts: who may change what, and all of it or nothing."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from cast import Cast, ask, delivery, take

from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import create_app
from openhorde.server.tasks import (
    count_deliveries,
    fold_ledger,
    grant_monthly,
    promote_owners,
)

ROLES = ("trusted", "flagged", "customizer", "vpn", "service", "education", "special")


class People:
    """Alice administers, Dora moderates, Charlie is nobody."""

    def __init__(self, http: httpx.AsyncClient, alice: Any, dora: Any, charlie: Any) -> None:
        self.http = http
        self.alice, self.dora, self.charlie = alice, dora, charlie

    async def edit(self, caller: Any, user: Any, **fields: Any) -> httpx.Response:
        """Have somebody edit somebody."""
        user_id = getattr(user, "id", user)
        path = f"/api/v2/users/{user_id}"
        return await self.http.put(path, headers=caller.headers, json=fields)

    async def edited(self, caller: Any, user: Any, **fields: Any) -> Any:
        """What has changed."""
        answer = await self.edit(caller, user, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, caller: Any, user: Any, **fields: Any) -> tuple[int, str]:
        """How it was refused."""
        answer = await self.edit(caller, user, **fields)
        return answer.status_code, answer.json().get("rc")

    async def shown(self, user: Any) -> Any:
        """What a moderator sees."""
        return (await self.http.get(f"/api/v2/users/{user.id}", headers=self.dora.headers)).json()


@pytest.fixture
async def people(horde: Horde, calling: Any, join: Any) -> AsyncIterator[People]:
    alice, charlie = await join("Alice"), await join("Charlie")
    dora = await join("Dora", moderator=True)
    settings = replace(horde.settings, admins=(alice.alias, "99"))
    async with calling(create_app(replace(horde, settings=settings))) as http:
        yield People(http, alice, dora, charlie)


async def test_users_edit_themselves(people: People) -> None:
    charlie = people.charlie
    changes = {"username": "Karl", "contact": "karl@example.org", "public_workers": True}
    assert await people.edited(charlie, charlie, **changes) == changes
    shown = await people.shown(charlie)
    assert shown["username"] == f"Karl#{charlie.id}"
    assert shown["contact"] == "karl@example.org"
    assert shown["worker_ids"] == []
    mine = await people.http.get("/api/v2/find_user", headers=charlie.headers)
    assert mine.json()["username"] == f"Karl#{charlie.id}"  # At once, whatever was remembered.
    cleaned = await people.edited(charlie, charlie, username="<b>Karl</b>\u202eX")
    assert cleaned == {"username": "KarlX"}


async def test_moderators_edit_others(people: People) -> None:
    given: dict[str, Any] = {
        **dict.fromkeys(ROLES, True),
        "concurrency": 7,
        "worker_invited": 3,
        "admin_comment": "a good soul",
        "username": "Karla",
    }
    assert await people.edited(people.dora, people.charlie, **given) == given
    shown = await people.shown(people.charlie)
    assert all(shown[name] == value for name, value in given.items() if name != "username")
    taken = dict.fromkeys(ROLES, False)
    assert await people.edited(people.dora, people.charlie, **taken) == taken
    shown = await people.shown(people.charlie)
    assert not any(shown[role] for role in ROLES)
    assert shown["concurrency"] == 7


async def test_who_may_not(people: People) -> None:
    alice, dora, charlie = people.alice, people.dora, people.charlie
    fields: dict[str, Any]
    for fields in (
        {"kudos": 5},
        {"monthly_kudos": 5},
        {"usage_multiplier": 2},
        {"moderator": True},
    ):
        assert await people.refused(dora, charlie, **fields) == (403, "NotAdmin")
        assert await people.refused(charlie, charlie, **fields) == (403, "NotAdmin")
    for fields in ({role: True} for role in ROLES):
        assert await people.refused(charlie, charlie, **fields) == (403, "NotModerator")
        assert await people.refused(alice, charlie, **fields) == (403, "NotModerator")
    for fields in ({"username": "Nobody"}, {"contact": "a@b.example"}, {"public_workers": True}):
        assert await people.refused(alice, charlie, **fields) == (403, "NotUserOrMod")
        assert await people.refused(dora, 0, **fields) == (403, "AnonForbiddenUserMod")
    assert await people.refused(dora, 0, trusted=True) == (403, "AnonForbiddenUserMod")
    assert await people.refused(dora, 99, trusted=True) == (404, "UserNotFound")
    assert await people.refused(dora, charlie) == (400, "NoUserModSelected")
    assert await people.refused(dora, charlie, filtered=True) == (400, "NoUserModSelected")
    assert await people.refused(charlie, charlie, username="x" * 31) == (400, "TooLongUserName")
    assert await people.refused(charlie, charlie, contact="<b></b>") == (400, "BadRequest")
    for fields in ({"concurrency": 501}, {"username": "x"}, {"contact": "x"}, {"kudos": "x"}):
        answer = await people.edit(dora, charlie, **fields)
        assert list(answer.json()["errors"]) == list(fields)


async def test_an_edit_is_all_or_nothing(horde: Horde, people: People) -> None:
    before = await people.shown(people.charlie)
    fields = {"kudos": 500, "concurrency": 1, "username": "Karl"}
    assert await people.refused(people.alice, people.charlie, **fields) == (403, "NotModerator")
    named = {"concurrency": 1, "trusted": True, "username": "x" * 40}
    assert await people.refused(people.dora, people.charlie, **named) == (400, "TooLongUserName")
    await fold_ledger.run(horde)
    after = await people.shown(people.charlie)
    assert after | {"account_age": 0} == before | {"account_age": 0}


async def test_administrators_make_kudos_and_take_them(horde: Horde, people: People) -> None:
    alice, charlie = people.alice, people.charlie
    assert await people.edited(alice, charlie, kudos=500.5) == {"new_kudos": 500.5}
    assert await people.edited(alice, charlie, kudos=-100) == {"new_kudos": 400.5}
    await fold_ledger.run(horde)
    shown = await people.shown(charlie)
    assert (shown["kudos"], shown["kudos_details"]["admin"]) == (400.5, 400.5)
    assert await people.edited(alice, charlie, kudos=-1000) == {"new_kudos": 14}
    await fold_ledger.run(horde)
    assert (await people.shown(charlie))["kudos"] == 14


async def test_a_promise_is_paid_at_once_and_then_monthly(horde: Horde, people: People) -> None:
    alice, charlie = people.alice, people.charlie
    assert await people.edited(alice, charlie, monthly_kudos=1000) == {"monthly_kudos": 1000}
    shown = await people.shown(charlie)
    assert shown["monthly_kudos"]["amount"] == 1000
    first = shown["monthly_kudos"]["last_received"]
    assert first.endswith("Z")
    await grant_monthly.run(horde)
    assert await people.edited(alice, charlie, monthly_kudos=500) == {"monthly_kudos": 1500}
    assert await people.edited(alice, charlie, monthly_kudos=-9000) == {"monthly_kudos": 0}
    await fold_ledger.run(horde)
    shown = await people.shown(charlie)
    assert shown["monthly_kudos"] == {"amount": 0, "last_received": first}
    assert shown["kudos_details"]["recurring"] == 1500
    dora = await people.shown(people.dora)
    assert dora["monthly_kudos"]["amount"] == 300_000


async def test_moderators_are_made_by_administrators(people: People) -> None:
    alice, charlie = people.alice, people.charlie
    made = await people.edited(alice, charlie, moderator=True)
    assert made == {"moderator": True, "trusted": True}
    # At once, although the key was known as nobody's in particular.
    assert await people.edited(charlie, people.dora, flagged=True) == {"flagged": True}
    assert await people.edited(alice, charlie, moderator=False) == {"moderator": False}
    shown = await people.shown(charlie)
    assert (shown["moderator"], shown["trusted"]) == (False, True)


async def test_trust_pays_the_escrow_out_and_wakes_the_workers(
    horde: Horde, people: People, cast: Cast
) -> None:
    rich, charlie = await cast.make("Rich", kudos=1000), await cast.make("Chris")
    await ask(horde, rich)
    (job_id,) = await take(horde, charlie)
    await work.deliver(horde, charlie, delivery(job_id))
    await fold_ledger.run(horde)
    await horde.pool.execute("update workers set paused = true")
    assert (await people.shown(charlie))["evaluating_kudos"] > 0
    assert await people.edited(people.dora, charlie, trusted=True) == {"trusted": True}
    await promote_owners.run(horde)
    await fold_ledger.run(horde)
    assert (await people.shown(charlie))["evaluating_kudos"] == 0
    assert not await horde.pool.fetchval("select paused from workers")


async def test_suspicion_is_reset(horde: Horde, people: People) -> None:
    await horde.pool.execute("update users set suspicion = 4")
    for value in (True, False):  # Any value does it.
        reset = await people.edited(people.dora, people.charlie, reset_suspicion=value)
        assert reset == {"new_suspicion": 0}
    assert (await people.shown(people.charlie))["suspicious"] == 0


async def test_the_multiplier_counts_usage_and_no_kudos(
    horde: Horde, people: People, cast: Cast
) -> None:
    rich, bob = await cast.make("Rich", kudos=1000), await cast.bob()
    changed = await people.edited(people.alice, rich, usage_multiplier=2.5)
    assert changed == {"usage_multiplier": 2.5}
    await ask(horde, rich)
    (job_id,) = await take(horde, bob)
    await work.deliver(horde, bob, delivery(job_id))
    await count_deliveries.run(horde)
    things = 64 * 64 * 4 / 1_000_000
    usage = (await people.shown(rich))["records"]["usage"]["megapixelsteps"]
    assert usage == pytest.approx(2.5 * things)
    contributed = (await people.shown(bob))["records"]["contribution"]["megapixelsteps"]
    assert contributed == pytest.approx(things)
