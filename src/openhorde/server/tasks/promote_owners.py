# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trusts owners who have earned it, and pays trusted owners what is in their escrow."""

from openhorde.server.actions.horde import Horde
from openhorde.server.domain import ledger
from openhorde.server.domain.trust import becomes_trusted
from openhorde.server.kit.ids import uuid7
from openhorde.server.store import kudos, upkeep
from openhorde.server.store.signals import Edited

NOBODY_MILLI = 2**62
"""More than anybody has: without a threshold nobody becomes trusted by earning."""


async def run(horde: Horde) -> None:
    """Promote and pay out, while nobody folds what is being paid."""
    threshold_milli = horde.settings.trust_kudos * 1000 or None
    promoted: list[int] = []
    async with horde.statements.transaction() as statements:
        if not await kudos.lock_folding(statements):
            return
        for owner in await upkeep.escrows(statements, threshold_milli or NOBODY_MILLI):
            earned = becomes_trusted(
                escrow_milli=owner.escrow_milli,
                threshold_milli=threshold_milli,
                account_age_seconds=owner.age_seconds,
                suspicions=owner.suspicion,
                anonymous=False,
            )
            if owner.trusted or earned:
                await upkeep.trust_user(statements, owner.user_id)
                if not owner.trusted:
                    promoted.append(owner.user_id)
                promotion = ledger.promote(uuid7(), owner.user_id, owner.escrow_milli)
                await kudos.book(statements, promotion)
    for user_id in promoted:
        horde.signals.send(Edited("user", str(user_id)))
