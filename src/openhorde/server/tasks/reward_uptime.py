# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rewards workers for being there."""

from typing import Final
from uuid import uuid5

import msgspec

from openhorde.server.actions.horde import Horde
from openhorde.server.domain import ledger
from openhorde.server.domain.kinds.table import KINDS
from openhorde.server.store import kudos, upkeep

PERIOD_SECONDS: Final = 600


async def run(horde: Horde) -> None:
    """Pay every worker that has been up for another period, once for that period."""
    async with horde.statements.transaction() as statements:
        for worker in await upkeep.take_uptime(statements, PERIOD_SECONDS):
            kind = KINDS[worker.kind]
            try:
                pop = msgspec.convert(worker.offer, kind.pop_type)
            except msgspec.ValidationError:
                # Stored by another version of the server: its next check-in says it anew.
                continue
            amount_milli = kind.uptime_reward_milli(pop, worker.models, horde.reference)
            transfers = ledger.uptime(
                uuid5(worker.id, str(worker.uptime_seconds)),
                worker.user_id,
                amount_milli,
                owner_trusted=worker.owner_trusted,
                at_once=kind.uptime_at_once,
            )
            await kudos.book(statements, transfers)
            await upkeep.add_uptime_reward(statements, worker.id, amount_milli)
