# SPDX-License-Identifier: AGPL-3.0-or-later
"""Grants monthly kudos: to moderators, and to whom an administrator has promised them."""

from typing import Final

from openhorde.server.actions.horde import Horde
from openhorde.server.domain import ledger, transfers
from openhorde.server.store import kudos

BATCH: Final = 500


async def run(horde: Horde) -> None:
    """Grant everybody at most one month; who is behind gets the next one in the next round."""
    last_id: int | None = -1
    while last_id is not None:
        last_id = await _grant_batch(horde, last_id)


async def _grant_batch(horde: Horde, after_id: int) -> int | None:
    """Grant the next accounts; the id of the last one, or None when there are no more."""
    now = horde.clock.now()
    async with horde.statements.transaction() as statements:
        accounts = await kudos.lock_grants(statements, after_id, now, BATCH)
        granted = {}
        moved: list[ledger.Transfer] = []
        for account in accounts:
            due = transfers.grant_due(account.received_at, now)
            if due is not None:
                granted[account.id] = due
                moved += ledger.grant(
                    transfers.grant_id(account.id, due),
                    account.id,
                    transfers.monthly_milli(
                        account.monthly_kudos_milli, moderator=account.moderator
                    ),
                    purpose="recurring",
                )
        await kudos.book(statements, moved)
        await kudos.save_grants(statements, granted)
    return accounts[-1].id if len(accounts) == BATCH else None
