# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rewards workers for being there."""

from typing import Final
from uuid import uuid5

from openhorde.server.actions.horde import Horde
from openhorde.server.domain import ledger
from openhorde.server.domain.kinds import image
from openhorde.server.store import kudos, upkeep

PERIOD_SECONDS: Final = 600


async def run(horde: Horde) -> None:
    """Pay every worker that has been up for another period, once for that period."""
    async with horde.statements.transaction() as statements:
        for worker in await upkeep.take_uptime(statements, PERIOD_SECONDS):
            amount_milli = image.uptime_reward_milli(worker.models, allow_lora=worker.allow_lora)
            transfers = ledger.uptime(
                uuid5(worker.id, str(worker.uptime_seconds)),
                worker.user_id,
                amount_milli,
                owner_trusted=worker.owner_trusted,
            )
            await kudos.book(statements, transfers)
            await upkeep.add_uptime_reward(statements, worker.id, amount_milli)
