# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kudos: booking transfers and folding them into balances."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from openhorde.server.domain.chain import Entry
from openhorde.server.domain.ledger import Transfer, balance_account
from openhorde.server.store.statements import Statements

FOLD_BATCH = 2000
"""So many bookings are folded at once."""

TransferColumns = tuple[
    list[UUID],
    list[str],
    list[str],
    list[int],
    list[int],
    list[int],
    list[UUID | None],
    list[str | None],
    list[str | None],
]


def columns(transfers: Iterable[Transfer]) -> TransferColumns:
    """Transfers turned on their side: one list per column, as the statements take them."""
    legs = tuple(transfers)
    return (
        [leg.source_id for leg in legs],
        [leg.purpose for leg in legs],
        [leg.phase for leg in legs],
        [leg.debit for leg in legs],
        [leg.credit for leg in legs],
        [leg.amount_milli for leg in legs],
        [leg.hold for leg in legs],
        [leg.debit_bucket for leg in legs],
        [leg.credit_bucket for leg in legs],
    )


async def book(statements: Statements, transfers: Iterable[Transfer]) -> None:
    """Append transfers. One that was booked before is left as it is, so a retry is harmless."""
    await statements.run("book_transfers", *columns(transfers))


async def lock_payer(statements: Statements, user_id: int) -> None:
    """Hold the payer's turn until the transaction ends."""
    await statements.run("lock_payer", user_id)


async def available_milli(statements: Statements, user_id: int) -> int:
    """Balance less what open requests hold and what is booked but not folded, in millikudos."""
    return int(await statements.value("available_kudos", user_id, balance_account(user_id)) or 0)


async def find_transfer(statements: Statements, transfer_id: UUID) -> tuple[int, int] | None:
    """The account that a transfer between users went to and its thousandths, if it was booked."""
    row = await statements.row("find_transfer", transfer_id)
    return (row["credit"], row["amount_milli"]) if row else None


async def has_sent(statements: Statements, sender: int, receiver: int, seconds: int) -> bool:
    """Whether one user has sent kudos to another within so many seconds."""
    accounts = balance_account(sender), balance_account(receiver)
    return bool(await statements.value("has_sent", *accounts, seconds))


async def coming_balance_milli(statements: Statements, user_id: int) -> int:
    """A user's balance with all that is booked and not folded, before floors, in millikudos."""
    return int(await statements.value("coming_balance", balance_account(user_id)))


@dataclass(frozen=True, slots=True)
class Grant:
    """An account with monthly kudos, and for which moment it got them last."""

    id: int
    monthly_kudos_milli: int
    moderator: bool
    received_at: datetime | None


async def lock_grants(
    statements: Statements, after_id: int, now: datetime, count: int
) -> list[Grant]:
    """The next accounts that may be due monthly kudos; nobody else grants them meanwhile."""
    return [Grant(**row) for row in await statements.rows("lock_grants", after_id, now, count)]


async def save_grants(statements: Statements, granted: Mapping[int, datetime]) -> None:
    """Note for which moment each of these accounts got its monthly kudos."""
    await statements.run("save_grants", list(granted), list(granted.values()))


async def lock_folding(statements: Statements) -> bool:
    """Try to be the one that folds; held until the transaction ends."""
    return bool(await statements.value("lock_folding"))


@dataclass(frozen=True, slots=True)
class FoldAccount:
    """An account as a fold meets it. `provider_id` is null for the horde's own accounts."""

    number: int
    balance_milli: int
    provider_id: str | None


async def take_unfolded(statements: Statements) -> tuple[list[Entry], int]:
    """Take a batch of bookings that no balance shows yet, for as long as the transaction lives.

    Returns their transfers, and how many bookings these are.
    """
    rows = await statements.rows("take_unfolded", FOLD_BATCH)
    entries = [Entry(transfer_of(row), row["recorded_at"]) for row in rows]
    return entries, rows[0]["bookings"] if rows else 0


async def accounts_for_fold(
    statements: Statements, numbers: Sequence[int]
) -> dict[int, FoldAccount]:
    """The accounts of these numbers that exist."""
    rows = await statements.rows("accounts_for_fold", list(numbers))
    return {
        row["number"]: FoldAccount(row["number"], row["balance_milli"], row["provider_id"])
        for row in rows
    }


async def save_fold(
    statements: Statements,
    balances_milli: Mapping[int, int],
    buckets_milli: Mapping[tuple[int, str], int],
    adjustments: Sequence[Transfer],
) -> None:
    """Write what a fold has found: balances, totals by bucket, and its own adjustments."""
    numbers = list(balances_milli)
    await statements.run(
        "save_balances",
        numbers,
        [balances_milli[number] for number in numbers],
    )
    if buckets_milli:
        await statements.run(
            "save_buckets",
            [account for account, _ in buckets_milli],
            [bucket for _, bucket in buckets_milli],
            list(buckets_milli.values()),
        )
    if adjustments:
        await statements.run("book_folded", *columns(adjustments))


async def ledger_totals(statements: Statements) -> tuple[int, int]:
    """The sum of all balances in millikudos (zero in a sound ledger), and how many bookings are
    not folded."""
    row = await statements.row("ledger_totals")
    assert row is not None
    return row["balances_milli"], row["unfolded"]


@dataclass(frozen=True, slots=True)
class AccountDrift:
    """A balance that is not what the transfers make it."""

    account: int
    balance_milli: int
    moved_milli: int


async def drifting_accounts(statements: Statements) -> list[AccountDrift]:
    """Accounts whose balance is not the sum of their folded transfers."""
    return [AccountDrift(**row) for row in await statements.rows("drifting_accounts")]


def transfer_of(row: asyncpg.Record) -> Transfer:
    """A row of transfers as the rules know it."""
    return Transfer(
        source_id=row["source_id"],
        purpose=row["purpose"],
        phase=row["phase"],
        debit=row["debit"],
        credit=row["credit"],
        amount_milli=row["amount_milli"],
        hold=row["hold"],
        debit_bucket=row["debit_bucket"],
        credit_bucket=row["credit_bucket"],
    )
