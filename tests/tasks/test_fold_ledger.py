# SPDX-License-Identifier: AGPL-3.0-or-later
"""Folding seals: whatever is folded is in the chain, also what was folded before there was one."""

from typing import Any

import pytest
from cast import Cast, ask, delivery, take

from openhorde.server.actions import verify_ledger, work
from openhorde.server.actions.horde import Horde
from openhorde.server.store import chain, kudos
from openhorde.server.tasks import fold_ledger


async def assert_sound(horde: Horde) -> None:
    report = await verify_ledger.verify(
        horde.statements, public_key=None, kept=None, progress=lambda done, of: None
    )
    assert report.faults == []


async def blocks(horde: Horde) -> list[int]:
    """How many transfers each block has."""
    return [block.transfers async for block in chain.blocks(horde.statements)]


async def test_a_block_for_every_fold_that_finds_something(horde: Horde, cast: Cast) -> None:
    await cast.alice()
    assert await blocks(horde) == [1]
    await fold_ledger.run(horde)
    assert await blocks(horde) == [1]
    charlie = await cast.make("Charlie", kudos=1)
    assert await blocks(horde) == [1, 2]  # With what lifts Charlie to the floor.
    rows = await horde.pool.fetch("select * from user_entries where user_id = $1", charlie.id)
    assert [(row["block"], row["positions"]) for row in rows] == [(2, [1, 2])]
    await assert_sound(horde)


async def test_small_batches_make_the_same_balances(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    monkeypatch.setattr(kudos, "FOLD_BATCH", 1)
    for _ in range(3):
        await ask(horde, alice)
        (job_id,) = await take(horde, bob)
        await work.deliver(horde, bob, delivery(job_id))
    await fold_ledger.run(horde)
    assert await kudos.ledger_totals(horde.statements) == (0, 0)
    assert len(await blocks(horde)) >= 6
    await assert_sound(horde)


async def test_what_was_folded_before_there_was_a_chain_is_sealed_once(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice)
    (job_id,) = await take(horde, bob)
    await fold_ledger.run(horde)
    async with horde.pool.acquire() as connection, connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        await connection.execute("delete from ledger_blocks")
        await connection.execute("delete from user_entries")
    before = await balances(horde)
    monkeypatch.setattr(kudos, "FOLD_BATCH", 2)
    await work.deliver(horde, bob, delivery(job_id))
    await fold_ledger.run(horde)
    assert sum(await blocks(horde)) == await horde.pool.fetchval("select count(*) from transfers")
    assert (await blocks(horde))[:2] == [2, 1]
    after = await balances(horde)
    assert after[2 * alice.id] < before[2 * alice.id]
    await assert_sound(horde)


async def balances(horde: Horde) -> dict[int, int]:
    rows = await horde.pool.fetch("select number, balance_milli from accounts")
    return {row["number"]: row["balance_milli"] for row in rows}


@pytest.mark.parametrize("step", ["save_fold", "lock_folding", "accounts_for_fold"])
async def test_a_fold_that_breaks_off_leaves_all_to_the_next(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    alice = await cast.alice()
    await ask(horde, alice)
    before = await balances(horde), await blocks(horde)
    whole = getattr(kudos, step)

    async def broken(*arguments: Any, **named: Any) -> None:
        await whole(*arguments, **named)
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(kudos, step, broken)
        with pytest.raises(ConnectionError):
            await fold_ledger.run(horde)
    assert (await balances(horde), await blocks(horde)) == before
    await assert_sound(horde)
    await fold_ledger.run(horde)
    assert (await balances(horde))[2 * alice.id] < 100_000_000
    await assert_sound(horde)
