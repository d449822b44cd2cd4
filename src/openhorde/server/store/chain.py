# SPDX-License-Identifier: AGPL-3.0-or-later
"""The chain over the ledger: its blocks and signed roots, as they are stored and checked."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from openhorde.server.domain.chain import EMPTY, Entry, Head
from openhorde.server.domain.ledger import user_of
from openhorde.server.store.kudos import transfer_of
from openhorde.server.store.statements import Statements

READ_AHEAD_BLOCKS = 500


async def head(statements: Statements) -> tuple[Head, datetime]:
    """The end of the chain, and when a block that this transaction appends is sealed."""
    row = await statements.row("ledger_head")
    assert row is not None
    found = Head(row["number"], row["hash"]) if row["number"] else EMPTY
    return found, row["sealed_at"]


async def save_block(
    statements: Statements,
    previous: Head,
    block: Head,
    sealed_at: datetime,
    entries: Sequence[Entry],
) -> None:
    """Append a block, and note where in it the transfers of users are."""
    legs = [entry.transfer for entry in entries]
    await statements.run(
        "save_block",
        block.number,
        sealed_at,
        [leg.source_id for leg in legs],
        [leg.purpose for leg in legs],
        previous.hash,
        block.hash,
    )
    places = [
        (user_id, place)
        for place, leg in enumerate(legs, start=1)
        for user_id in {user_of(leg.debit), user_of(leg.credit)} - {None}
    ]
    await statements.run(
        "save_user_entries",
        block.number,
        [user_id for user_id, _ in places],
        [place for _, place in places],
    )


async def never_sealed(statements: Statements) -> AsyncIterator[Entry]:
    """What was folded before there was a chain. Only inside a transaction."""
    async for row in statements.stream("transfers_never_sealed"):
        yield Entry(transfer_of(row), row["recorded_at"])


@dataclass(frozen=True, slots=True)
class Root:
    """A head of the chain, signed on a day (UTC). When just, is no part of what it says."""

    day: date
    block: int
    hash: bytes
    public_key: bytes
    signature: bytes
    signed_at: datetime | None = field(default=None, compare=False)


async def is_signed_on(statements: Statements, day: date) -> bool:
    """Whether there is a root of that day."""
    return bool(await statements.value("root_of_day", day))


async def save_root(
    statements: Statements, day: date, signed: Head, public_key: bytes, signature: bytes
) -> None:
    """Keep a root; one of that day that is there already stays."""
    await statements.run("save_root", day, signed.number, signed.hash, public_key, signature)


async def roots(statements: Statements, before: date | None, count: int) -> list[Root]:
    """The newest roots (before a day), newest first."""
    return [Root(**row) for row in await statements.rows("roots", before, count)]


@dataclass(frozen=True, slots=True)
class Block:
    """A block as it is stored, without its transfers."""

    number: int
    sealed_at: datetime
    previous: bytes
    hash: bytes
    transfers: int


async def blocks(statements: Statements) -> AsyncIterator[Block]:
    """The whole chain, block by block."""
    number = 0
    while rows := await statements.rows("blocks_after", number, READ_AHEAD_BLOCKS):
        for row in rows:
            yield Block(**row)
        number = rows[-1]["number"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A transfer that a block lists; `entry` is None where there is no such transfer."""

    source_id: UUID
    purpose: str
    entry: Entry | None


async def transfers_of(
    statements: Statements, first: int, last: int
) -> AsyncIterator[tuple[int, Listed]]:
    """What the blocks of a range list, as (block, transfer), in order. Only in a transaction."""
    async for row in statements.stream("transfers_of_blocks", first, last):
        entry = None if row["phase"] is None else Entry(transfer_of(row), row["recorded_at"])
        yield row["number"], Listed(row["source_id"], row["listed"], entry)


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A transfer that is not in exactly one place: how often it is booked, sealed and unfolded."""

    source_id: UUID
    purpose: str
    booked: int
    sealed: int
    unfolded: int


async def misplaced(statements: Statements, count: int) -> list[Misplaced]:
    """Transfers that are not booked once and either in one block or waiting to be folded."""
    return [Misplaced(**row) for row in await statements.rows("misplaced_transfers", count)]


@dataclass(frozen=True, slots=True)
class BucketDrift:
    """A total that is not what the transfers make it."""

    account: int
    bucket: str
    total_milli: int
    moved_milli: int


async def drifting_buckets(statements: Statements, count: int) -> list[BucketDrift]:
    """Totals by bucket that are not the sum of their folded transfers."""
    return [BucketDrift(**row) for row in await statements.rows("drifting_buckets", count)]


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """How much a ledger holds; `balances_milli` is the sum of all balances."""

    balances_milli: int
    accounts: int
    buckets: int
    transfers: int
    unfolded: int
    blocks: int
    roots: int


async def counts(statements: Statements) -> LedgerCounts:
    """How much there is to be checked."""
    row = await statements.row("ledger_counts")
    assert row is not None
    return LedgerCounts(**row)
