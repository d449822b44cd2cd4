# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kudos: booking transfers and folding them into balances."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from openhorde.server.domain.ledger import Transfer, balance_account
from openhorde.server.store.statements import Statements

FOLD_BATCH = 2000
"""So many transfers are folded at once."""

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


async def lock_folding(statements: Statements) -> bool:
    """Try to be the one that folds; held until the transaction ends."""
    return bool(await statements.value("lock_folding"))


@dataclass(frozen=True, slots=True)
class FoldAccount:
    """An account as a fold meets it. `provider_id` is null for the horde's own accounts."""

    number: int
    balance_milli: int
    provider_id: str | None


async def take_unfolded(statements: Statements) -> list[Transfer]:
    """Take a batch of transfers that no balance shows yet, for as long as the transaction lives."""
    return [_transfer(row) for row in await statements.rows("take_unfolded", FOLD_BATCH)]


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
    """The sum of all balances in millikudos (zero in a sound ledger), and what is unfolded."""
    row = await statements.row("ledger_totals")
    assert row is not None
    return row["balances_milli"], row["unfolded"]


async def drifting_accounts(statements: Statements) -> list[int]:
    """Accounts whose balance is not the sum of their transfers; none when all is folded."""
    return [row["account"] for row in await statements.rows("drift")]


def _transfer(row: asyncpg.Record) -> Transfer:
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
