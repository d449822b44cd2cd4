# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kudos change hands: once per key, never more than there are, and each side can read why."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from cast import Cast, ask, delivery, take

from openhorde.server.actions import kudos, work
from openhorde.server.actions.history import Line, history
from openhorde.server.actions.horde import Horde
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import kudos as store
from openhorde.server.store.users import Account
from openhorde.server.tasks import fold_ledger, promote_owners

KUDOS = 100_000


async def balance(horde: Horde, account: Account) -> int:
    """What a user has after everything is folded, in kudos."""
    await fold_ledger.run(horde)
    assert await store.drifting_accounts(horde.statements) == []
    assert await store.ledger_totals(horde.statements) == (0, 0)
    return await store.coming_balance_milli(horde.statements, account.id) // 1000


async def refused(*arguments: Any) -> str:
    """The code with which sending is refused."""
    with pytest.raises(Refusal) as refusal:
        await kudos.send(*arguments)
    return refusal.value.code


async def change(horde: Horde, account: Account, **columns: Any) -> None:
    """Set columns of a user."""
    for name, value in columns.items():
        await horde.pool.execute(f"update users set {name} = $2 where id = $1", account.id, value)


async def test_kudos_are_sent(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await kudos.send(horde, alice, bob.alias, 300, None)
    await kudos.send(horde, alice, str(bob.id), 300, None)
    assert await balance(horde, alice) == KUDOS - 600
    assert await balance(horde, bob) == 600
    rows = await horde.pool.fetch("select * from account_buckets")
    buckets = {(row["account"] // 2, row["bucket"]): row["amount_milli"] for row in rows}
    assert buckets[alice.id, "gifted"] == -600_000
    assert buckets[bob.id, "received"] == 600_000


async def test_a_key_sends_once(horde: Horde, cast: Cast) -> None:
    alice, bob, charlie = await cast.alice(), await cast.bob(), await cast.make("Charlie")
    sending = (kudos.send(horde, alice, bob.alias, 300, "key") for _ in range(20))
    await asyncio.gather(*sending)
    assert await balance(horde, alice) == KUDOS - 300
    await kudos.send(horde, alice, bob.alias, 300, "key")  # Also when it is folded long since.
    for receiver, amount in ((bob, 301), (charlie, 300)):
        assert await refused(horde, alice, receiver.alias, amount, "key") == (
            "IdempotencyKeyConflict"
        )
    await change(horde, bob, roles=["flagged"])
    await kudos.send(horde, alice, bob.alias, 300, "key")  # What was done stays done.
    assert await balance(horde, alice) == KUDOS - 300
    # Another's key is another key.
    await change(horde, bob, roles=["trusted"])
    await horde.pool.execute("update users set created_at = now()")
    dora = await cast.make("Dora", kudos=1000)
    await kudos.send(horde, dora, bob.alias, 300, "key")
    assert await balance(horde, bob) == 600


async def test_together_they_send_no_more_than_there_is(horde: Horde, cast: Cast) -> None:
    alice, bob, charlie = await cast.alice(), await cast.bob(), await cast.make("Charlie")
    receivers = [bob, charlie] * 10
    outcomes = await asyncio.gather(
        *(kudos.send(horde, alice, each.alias, KUDOS // 7, None) for each in receivers),
        return_exceptions=True,
    )
    codes = [each.code for each in outcomes if isinstance(each, Refusal)]
    assert codes == ["KudosTransferNotEnough"] * 14  # The floor of 14 does not fit a seventh time.
    assert await balance(horde, alice) == KUDOS - 6 * (KUDOS // 7)


async def test_what_is_held_cannot_be_sent(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice)
    await horde.pool.execute(
        "update requests set reserved_milli = 50000000 where id = $1", request_id
    )
    assert await refused(horde, alice, bob.alias, 50_000, None) == "KudosTransferNotEnough"
    await kudos.send(horde, alice, bob.alias, 49_900, None)


async def test_nothing_goes_back_at_once(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await kudos.send(horde, alice, bob.alias, 300, None)
    await fold_ledger.run(horde)
    assert await refused(horde, bob, alice.alias, 1, None) == "TooFastKudosTransfers"
    async with horde.pool.acquire() as connection, connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        await connection.execute(
            "update transfers set recorded_at = recorded_at - interval '61 seconds'"
        )
    await kudos.send(horde, bob, alice.alias, 1, None)


async def test_who_may_not(horde: Horde, cast: Cast) -> None:
    alice, bob, nobody = await cast.alice(), await cast.bob(), await cast.anonymous()
    assert await refused(horde, nobody, alice.alias, 1, None) == "KudosTransferFromAnon"
    assert await refused(horde, alice, "Nobody#99", 1, None) == "InvalidTargetUsername"
    shared_key = "00000000-0000-4000-8000-000000000001"
    assert await refused(horde, alice, shared_key, 1, None) == "InvalidTargetUsername"
    assert await refused(horde, alice, "anon#0", 1, None) == "KudosTransferToAnon"
    assert await refused(horde, alice, alice.alias, 1, None) == "KudosTransferToSelf"
    # Known from before does not help: what counts is how it is now.
    await change(horde, alice, roles=["flagged"])
    assert await refused(horde, alice, bob.alias, 1, None) == "SourceAccountFlagged"
    await change(horde, alice, roles=[], suspicion=5)
    assert await refused(horde, alice, bob.alias, 1, None) == "FaultWhenKudosSending"


async def test_gifts_to_schools_are_donations(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await change(horde, bob, roles=["education"])
    await kudos.send(horde, alice, bob.alias, 300, None)
    await fold_ledger.run(horde)
    donated = await horde.pool.fetchval(
        "select amount_milli from account_buckets where bucket = 'donated'"
    )
    assert donated == -300_000


async def test_awards(horde: Horde, cast: Cast) -> None:
    first, alice, bob = await cast.make("First"), await cast.alice(), await cast.bob()
    # Without administrators nobody may, be it the first account or a moderator.
    dora, anonymous = await cast.make("Dora", moderator=True), await cast.anonymous()
    for caller in (first, alice, dora, anonymous):
        with pytest.raises(Refusal) as refusal:
            await kudos.award(horde, caller, bob.alias, 500)
        assert refusal.value.code == "NotAllowedAwards"
    horde = replace(horde, settings=replace(horde.settings, admins=(alice.alias, "0")))
    await kudos.award(horde, alice, bob.alias, 500)
    assert await balance(horde, bob) == 500
    await change(horde, bob, roles=["flagged"])
    for caller, receiver, amount, code in (
        (bob, alice.alias, 1, "NotAllowedAwards"),
        (first, alice.alias, 1, "NotAllowedAwards"),
        (anonymous, alice.alias, 1, "NotAllowedAwards"),
        (alice, "x", 1, "InvalidAwardUsername"),
        (alice, "0", 1, "KudosAwardToAnon"),
        (alice, bob.alias, 1, "TargetAccountFlagged"),
        (alice, alice.alias, 0, "InvalidKudosTransferAmount"),
        (alice, alice.alias, -1, "NegativeKudosTransfer"),
    ):
        with pytest.raises(Refusal) as refusal:
            await kudos.award(horde, caller, receiver, amount)
        assert refusal.value.code == code
    assert await balance(horde, bob) == 500


async def read_all(horde: Horde, account: Account, count: int) -> list[Line]:
    """A user's whole history, in pages of so many."""
    lines: list[Line] = []
    before = None
    while True:
        page = await history(horde, account, None, before, count)
        lines += page.lines
        if page.next is None:
            return lines
        assert len(page.lines) == count
        before = page.next


async def test_the_history_adds_up_and_explains_itself(horde: Horde, cast: Cast) -> None:
    alice, charlie = await cast.alice(), await cast.make("Charlie")
    for _ in range(3):
        await ask(horde, alice)
        (job_id,) = await take(horde, charlie)
        await work.deliver(horde, charlie, delivery(job_id))
        await fold_ledger.run(horde)
    await kudos.send(horde, alice, charlie.alias, 50, None)
    await change(horde, charlie, roles=["trusted"])
    await promote_owners.run(horde)
    for account in (alice, charlie):
        total = await balance(horde, account)
        lines = await read_all(horde, account, 100)
        for count in (1, 2, 3, 5):
            assert await read_all(horde, account, count) == lines
        # What lifts to a floor stands behind its cause, but was recorded by the fold.
        moments = [line.recorded_at for line in lines if line.purpose != "floor"]
        assert moments == sorted(moments, reverse=True)
        moved = sum(line.meaning.amount_milli for line in lines if line.meaning.effect == "balance")
        assert moved // 1000 == total
        assert all(line.meaning.why for line in lines)
        names = {line.counterparty for line in lines} - {None}
        assert names == {charlie.alias if account is alice else alice.alias}
    prices = [line for line in await read_all(horde, alice, 100) if line.purpose == "price"]
    assert len(prices) == 3
    for line in prices:
        assert line.lines
        assert sum(part.milli for part in line.lines) == -line.meaning.amount_milli


async def test_prices_are_explained_for_as_long_as_the_request_is_known(
    horde: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice, slow_workers=False)
    (job_id,) = await take(horde, bob)
    await work.deliver(horde, bob, delivery(job_id))
    await fold_ledger.run(horde)
    (line,) = [each for each in await read_all(horde, alice, 100) if each.purpose == "price"]
    assert line.lines is not None
    assert any("slow workers" in part.label for part in line.lines)
    assert sum(part.milli for part in line.lines) == -line.meaning.amount_milli
    await horde.pool.execute("update requests set sources = '{}'")
    (line,) = [each for each in await read_all(horde, alice, 100) if each.purpose == "price"]
    assert line.lines is not None
    assert any("source image" in part.label for part in line.lines)
    await horde.pool.execute("delete from requests")
    (line,) = [each for each in await read_all(horde, alice, 100) if each.purpose == "price"]
    assert line.lines is None


async def test_whose_history(horde: Horde, cast: Cast) -> None:
    alice, dora = await cast.alice(), await cast.make("Dora", moderator=True)
    page = await history(horde, dora, alice.alias, None, 10)
    assert [line.purpose for line in page.lines] == ["admin"]
    for caller, user, code in (
        (await cast.anonymous(), None, "AnonForbidden"),
        (alice, dora.alias, "NotModerator"),
        (dora, "99", "UserNotFound"),
    ):
        with pytest.raises(Refusal) as refusal:
            await history(horde, caller, user, None, 10)
        assert refusal.value.code == code
