# SPDX-License-Identifier: AGPL-3.0-or-later
"""The standing duties about people: escrow, trust and uptime."""

from dataclasses import replace

import msgspec
import pytest
from cast import Cast, ask, delivery, take, take_forms

from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde
from openhorde.server.store import kudos
from openhorde.server.tasks import count_deliveries, fold_ledger, promote_owners, reward_uptime


async def balances(horde: Horde, user_id: int) -> tuple[int, int]:
    """(balance, escrow) of a user after everything is folded, in millikudos."""
    await fold_ledger.run(horde)
    assert await kudos.drifting_accounts(horde.statements) == []
    totals = await kudos.ledger_totals(horde.statements)
    assert totals == (0, 0)
    rows = await horde.pool.fetch("select number, balance_milli from accounts")
    found = {row["number"]: row["balance_milli"] for row in rows}
    return found.get(2 * user_id, 0), found.get(2 * user_id + 1, 0)


def with_threshold(horde: Horde, trust_kudos: int) -> Horde:
    """The same horde, whose owners become trusted above so many kudos in escrow."""
    return replace(horde, settings=replace(horde.settings, trust_kudos=trust_kudos))


async def test_half_of_an_untrusted_owners_reward_waits_until_trust(
    horde: Horde, cast: Cast
) -> None:
    alice, charlie = await cast.alice(), await cast.make("Charlie")
    await ask(horde, alice)
    (job_id,) = await take(horde, charlie)
    reward_milli = await work.deliver(horde, charlie, delivery(job_id))
    balance_milli, escrow_milli = await balances(horde, charlie.id)
    assert escrow_milli == round(reward_milli / 2)
    assert balance_milli == 14_000  # The floor of the pseudonymous.
    await promote_owners.run(horde)
    assert (await balances(horde, charlie.id))[1] == escrow_milli
    trusting = with_threshold(horde, 1)
    await promote_owners.run(trusting)
    assert (await balances(horde, charlie.id))[1] == escrow_milli  # Too young an account.
    await horde.pool.execute("update users set created_at = created_at - interval '8 days'")
    await promote_owners.run(trusting)
    await promote_owners.run(trusting)
    assert await balances(horde, charlie.id) == (balance_milli + escrow_milli, 0)
    roles = await horde.pool.fetchval("select roles from users where id = $1", charlie.id)
    assert roles == ["trusted"]


async def test_uptime_is_rewarded_once_a_period(horde: Horde, cast: Cast) -> None:
    bob = await cast.bob()
    assert await take(horde, bob) == []
    await horde.pool.execute("update workers set uptime_seconds = 601")
    await reward_uptime.run(horde)
    await reward_uptime.run(horde)
    assert await balances(horde, bob.id) == (52_000, 0)
    assert await horde.pool.fetchval("select uptime_milli from workers") == 52_000


async def test_the_uptime_of_alchemists_is_paid_at_once(horde: Horde, cast: Cast) -> None:
    charlie = await cast.make("Charlie")
    assert await take_forms(horde, charlie, "caption") == []
    assert await take(horde, charlie) == []
    await horde.pool.execute("update workers set uptime_seconds = 601")
    await reward_uptime.run(horde)
    # 40 for the alchemist, to the balance; 52 for the one who draws, to the escrow.
    assert await balances(horde, charlie.id) == (40_000, 52_000)


async def test_what_another_version_stored_is_rewarded_once_it_is_said_anew(
    horde: Horde, cast: Cast
) -> None:
    bob = await cast.bob()
    assert await take(horde, bob) == []
    await horde.pool.execute("update workers set uptime_seconds = 601, offer = '{}'")
    await reward_uptime.run(horde)
    assert await horde.pool.fetchval("select uptime_milli from workers") == 0


@pytest.mark.parametrize(
    ("kind", "given_up", "rests"),
    [("image", 20, False), ("image", 21, True), ("alchemy", 100, False), ("alchemy", 101, True)],
)
async def test_how_much_may_be_given_up_depends_on_the_kind(
    horde: Horde, cast: Cast, kind: str, given_up: int, rests: bool
) -> None:
    bob = await cast.bob()
    await (take(horde, bob) if kind == "image" else take_forms(horde, bob, "caption"))
    await horde.pool.execute(
        "insert into deliveries_uncounted (job_id, kind, outcome, worker_id, owner_id, user_id,"
        " model, things, seconds, reward_milli)"
        " select gen_random_uuid(), kind, 'faulted', id, user_id, 0, 'x', 1, 1, 0"
        " from workers, generate_series(1, $1)",
        given_up,
    )
    await count_deliveries.run(horde)
    assert await horde.pool.fetchval("select maintenance from workers") is rests


async def test_a_duty_ends_although_new_work_keeps_coming(horde: Horde, cast: Cast) -> None:
    # Else the first duty would go on for as long as the horde is busy.
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    (job_id,) = await take(horde, bob)
    await work.deliver(horde, bob, delivery(job_id))
    assert not await fold_ledger.fold_batch(horde)
    await count_deliveries.run(horde)
    assert await horde.pool.fetchval("select count(*) from deliveries_uncounted") == 0


async def test_a_full_batch_says_that_there_may_be_more(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await cast.alice()
    await ask(horde, alice)
    await ask(horde, alice)
    monkeypatch.setattr(kudos, "FOLD_BATCH", 1)
    assert await fold_ledger.fold_batch(horde)
    await fold_ledger.run(horde)
    assert await kudos.ledger_totals(horde.statements) == (0, 0)


async def test_a_charge_below_the_floor_is_forgiven_and_recorded(horde: Horde, cast: Cast) -> None:
    charlie = msgspec.structs.replace(await cast.make("Charlie"), concurrency=100)
    await ask(horde, charlie)
    assert await balances(horde, charlie.id) == (14_000, 0)
    purposes = await horde.pool.fetch(
        "select purpose from transfers where credit = $1", 2 * charlie.id
    )
    assert {row["purpose"] for row in purposes} == {"floor"}
