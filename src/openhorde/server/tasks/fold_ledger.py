# SPDX-License-Identifier: AGPL-3.0-or-later
"""Folds booked transfers into balances, and seals them: the only place where a balance changes."""

from collections import defaultdict
from datetime import datetime

from openhorde.server.actions.horde import Horde
from openhorde.server.domain import ledger
from openhorde.server.domain.chain import EMPTY, Entry, Head, seal
from openhorde.server.domain.requester import floor_milli
from openhorde.server.store import chain, kudos
from openhorde.server.store.kudos import FoldAccount
from openhorde.server.store.statements import Statements
from openhorde.server.store.users import ANONYMOUS_ID, is_pseudonymous


async def run(horde: Horde) -> None:
    """Fold until less than a batch is left, or another server is at it."""
    while await fold_batch(horde):
        pass


async def fold_batch(horde: Horde) -> bool:
    """Fold and seal one batch in one transaction; whether there may be more."""
    async with horde.statements.transaction() as statements:
        if not await kudos.lock_folding(statements):
            return False
        head, now = await chain.head(statements)
        if head == EMPTY:
            head = await _seal_earlier(statements, head, now)
        entries, bookings = await kudos.take_unfolded(statements)
        if not entries:
            return False
        transfers = [entry.transfer for entry in entries]
        touched = {leg.debit for leg in transfers} | {leg.credit for leg in transfers}
        numbers = sorted(touched | {ledger.MINT})  # The mint pays for floors.
        accounts = await kudos.accounts_for_fold(statements, numbers)
        fold = ledger.fold(
            {number: account.balance_milli for number, account in accounts.items()},
            {},
            transfers,
            _floors(accounts),
        )
        await kudos.save_fold(statements, fold.balances, _buckets(fold), fold.adjustments)
        # What the fold itself books is recorded now, as the database's transaction has it.
        recorded = {entry.transfer.key: entry.recorded_at for entry in entries}
        sealed = [Entry(leg, recorded.get(leg.key, now)) for leg in fold.applied]
        await _seal(statements, head, now, sealed)
    return bookings == kudos.FOLD_BATCH


async def _seal(statements: Statements, head: Head, now: datetime, entries: list[Entry]) -> Head:
    """Append a block to the chain; its new head."""
    block = seal(head, now, entries)
    await chain.save_block(statements, head, block, now, entries)
    return block


async def _seal_earlier(statements: Statements, head: Head, now: datetime) -> Head:
    """Seal what was folded before there was a chain, as it was recorded."""
    entries: list[Entry] = []
    async for entry in chain.never_sealed(statements):
        entries.append(entry)
        if len(entries) == kudos.FOLD_BATCH:
            head = await _seal(statements, head, now, entries)
            entries = []
    return await _seal(statements, head, now, entries) if entries else head


def _buckets(fold: ledger.Fold) -> dict[tuple[int, str], int]:
    """What the fold adds to each account's totals by bucket."""
    totals: dict[tuple[int, str], int] = defaultdict(int)
    for transfer in fold.applied:
        if transfer.phase == "posted":
            if transfer.debit_bucket:
                totals[transfer.debit, transfer.debit_bucket] -= transfer.amount_milli
            if transfer.credit_bucket:
                totals[transfer.credit, transfer.credit_bucket] += transfer.amount_milli
    return totals


def _floors(accounts: dict[int, FoldAccount]) -> dict[int, int]:
    return {
        number: floor_milli(
            anonymous=number == ledger.balance_account(ANONYMOUS_ID),
            pseudonymous=is_pseudonymous(account.provider_id),
        )
        for number, account in accounts.items()
        if account.provider_id is not None and number % 2 == 0
    }
