# SPDX-License-Identifier: AGPL-3.0-or-later
"""The proof of the ledger: it holds after a day's work, and nothing that was tampered with passes.

Tampering is done by SQL with the triggers off, as somebody would who has the whole database.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from cast import Cast, ask, delivery, take

from openhorde.server.actions import kudos, verify_ledger, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.verify_ledger import Report
from openhorde.server.domain.chain import Head, seal
from openhorde.server.kit.clock import FixedClock
from openhorde.server.store import chain
from openhorde.server.store.chain import Root
from openhorde.server.store.statements import Statements
from openhorde.server.tasks import fold_ledger, sign_ledger

TAMPERINGS = [
    ("update transfers set amount_milli = amount_milli + 1 where purpose = 'price'", "changed"),
    ("update transfers set recorded_at = now() where purpose = 'reward'", "changed"),
    ("update transfers set hold = null where purpose = 'tax'", "changed"),
    ("update transfers set purpose = 'admin' where purpose = 'price'", "which is gone"),
    ("update transfers set purpose = repeat('x', 300) where purpose = 'tax'", "which is gone"),
    ("update transfers set debit_bucket = repeat('x', 300) where purpose = 'tax'", "a text"),
    ("delete from transfers where purpose = 'escrow'", "which is gone"),
    (
        "insert into transfers (source_id, purpose, phase, debit, credit, amount_milli)"
        " values (gen_random_uuid(), 'admin', 'posted', -2, 2, 5)",
        "put in by hand",
    ),
    ("delete from transfers_unfolded", "put in by hand"),
    (
        "insert into transfers_unfolded"
        " select source_id, array[purpose] from transfers where purpose = 'price'",
        "in blocks 1 times",
    ),
    (
        "insert into transfers_unfolded values (gen_random_uuid(), '{price}')",
        "there is no such transfer",
    ),
    ("update accounts set balance_milli = balance_milli + 5 where number = 2", "of user 1 is"),
    ("update accounts set balance_milli = balance_milli + 5 where number = -1", "treasury is"),
    ("update accounts set balance_milli = 1 where number % 2 = 1 and number > 0", "escrow of"),
    ("update account_buckets set amount_milli = 0 where bucket = 'gifted'", "total gifted is"),
    ("delete from account_buckets where bucket = 'received'", "total received is 0"),
    ("update ledger_blocks set hash = sha256('x') where number = 2", "Block 3 does not follow"),
    ("update ledger_blocks set sealed_at = now() where number = 2", "Block 2 does not have"),
    ("update ledger_blocks set number = 99 where number = 2", "Block 2 is gone"),
    ("delete from ledger_blocks where number = 1", "Block 1 is gone"),
    ("update ledger_blocks set previous = hash where number = 1", "follow the beginning"),
    (
        "update ledger_blocks set source_ids[1] = source_ids[2], purposes[1] = purposes[2]"
        " where cardinality(source_ids) > 1",
        "in blocks 2 times",
    ),
    (
        "delete from ledger_blocks where number = (select max(number) from ledger_blocks)",
        "gone",
    ),
    ("update ledger_roots set hash = sha256('x')", "is not signed by its key"),
    ("update ledger_roots set block = 1", "is another block 1"),
    ("update ledger_roots set signature = sha256('x')", "is not signed by its key"),
    ("update ledger_roots set day = day - 1", "is not signed by its key"),
]
"""What somebody does, and a part of what is told of it."""


async def proved(horde: Horde, kept: list[Root] | None = None) -> Report:
    """What a verification finds."""
    return await verify_ledger.verify(
        horde.statements,
        public_key=horde.ledger_key.public,
        kept=kept,
        progress=lambda done, of: None,
    )


async def faults(horde: Horde, kept: list[Root] | None = None) -> str:
    """The faults that a verification finds, in one text."""
    return "\n".join((await proved(horde, kept)).faults)


@pytest.fixture
async def used(horde: Horde, cast: Cast) -> Horde:
    """A horde with some blocks, signed, and something that is not folded yet."""
    alice, bob = await cast.alice(), await cast.bob()
    charlie = await cast.make("Charlie")
    for owner in (bob, charlie):
        await ask(horde, alice)
        (job_id,) = await take(horde, owner, name=f"{owner.username}'s")
        await work.deliver(horde, owner, delivery(job_id))
        await fold_ledger.run(horde)
    await kudos.send(horde, alice, str(bob.id), 5, "a")
    await fold_ledger.run(horde)
    await sign_ledger.run(horde)
    await kudos.send(horde, alice, str(bob.id), 7, "b")
    return horde


@asynccontextmanager
async def tampering(horde: Horde) -> AsyncIterator[asyncpg.Connection]:
    """A connection for which no trigger counts."""
    async with horde.pool.acquire() as connection, connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        yield connection


async def tamper(horde: Horde, statement: str, *arguments: Any) -> None:
    """Run a statement that must change something."""
    async with tampering(horde) as connection:
        assert not (await connection.execute(statement, *arguments)).endswith(" 0")


async def test_a_sound_ledger_is_proved(used: Horde) -> None:
    kept = await chain.roots(used.statements, None, 10)
    report = await proved(used, kept)
    assert report.faults == []
    said = "\n".join(report.checked)
    for words in ("balances", "totals by bucket", "1 bookings", "1 roots", "this machine's"):
        assert words in said, said


async def test_nothing_is_sound_too(horde: Horde) -> None:
    assert (await proved(horde, [])).faults == []


class Inside(Statements):
    """Statements within a transaction, which see what it has not committed."""

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Statements]:
        """What this transaction sees."""
        yield self


async def test_tampering_is_told(used: Horde) -> None:
    assert await faults(used) == ""
    for statement, told in TAMPERINGS:
        async with used.pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("set local session_replication_role = replica")
            assert not (await connection.execute(statement)).endswith(" 0"), statement
            report = await verify_ledger.verify(
                Inside(connection, used.queries),
                public_key=None,
                kept=None,
                progress=lambda done, of: None,
            )
            await transaction.rollback()
        assert told in "\n".join(report.faults), (statement, report.faults)
    assert await faults(used) == ""


async def test_a_chain_that_was_rewritten_whole_is_told_by_what_was_kept(used: Horde) -> None:
    kept = await chain.roots(used.statements, None, 10)
    await tamper(used, "update transfers set recorded_at = recorded_at - interval '1 hour'")
    await rewrite_chain(used)
    assert "was rewritten" in await faults(used)
    await tamper(used, "delete from ledger_roots")
    assert await faults(used) == ""  # Whoever has all of the database can do that, ...
    assert "was rewritten" in await faults(used, kept)  # ... but not what others have kept.
    assert "gone here" in await faults(used, kept)
    await sign_ledger.run(used)
    assert "is not the one that was kept" in await faults(used, kept)


async def rewrite_chain(horde: Horde) -> None:
    """Give every block the hash of what it holds now."""
    async with tampering(horde) as connection:
        statements = Statements(connection, horde.queries)
        head = Head(0, (await connection.fetchval("select previous from ledger_blocks limit 1")))
        for block in [each async for each in chain.blocks(statements)]:
            listing = chain.transfers_of(statements, block.number, block.number)
            entries = [listed.entry async for _, listed in listing if listed.entry is not None]
            after = seal(head, block.sealed_at, entries)
            await connection.execute(
                "update ledger_blocks set previous = $2, hash = $3 where number = $1",
                block.number, head.hash, after.hash,
            )  # fmt: skip
            head = after


async def test_the_chain_is_read_in_pieces(used: Horde, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_ledger, "TRANSFERS_AT_ONCE", 2)
    monkeypatch.setattr(chain, "READ_AHEAD_BLOCKS", 2)
    seen: list[int] = []
    report = await verify_ledger.verify(
        used.statements, public_key=None, kept=None, progress=lambda done, of: seen.append(done)
    )
    assert report.faults == []
    assert "not on this machine" in "\n".join(report.checked)
    assert len(seen) > 2
    assert seen == sorted(seen)


async def test_a_root_a_day(used: Horde) -> None:
    await sign_ledger.run(used)
    assert len(await chain.roots(used.statements, None, 10)) == 1
    await fold_ledger.run(used)
    clock = FixedClock(used.clock.now() + timedelta(days=1))
    tomorrow = replace(used, clock=clock)
    await sign_ledger.run(tomorrow)
    newest, oldest = await chain.roots(used.statements, None, 10)
    assert newest.day - oldest.day == timedelta(days=1)
    assert newest.block == oldest.block + 1
    assert await chain.roots(used.statements, newest.day, 10) == [oldest]
    assert await faults(used) == ""


async def test_nothing_is_signed_where_nothing_is(horde: Horde) -> None:
    await sign_ledger.run(horde)
    assert await chain.roots(horde.statements, None, 10) == []


@pytest.mark.parametrize("table", ["transfers", "ledger_blocks", "ledger_roots"])
async def test_without_tricks_nobody_edits(used: Horde, table: str) -> None:
    for statement in (f"delete from {table}", f"truncate {table}"):
        with pytest.raises(asyncpg.RaiseError, match=f"{table} are append only"):
            await used.pool.execute(statement)
