# SPDX-License-Identifier: AGPL-3.0-or-later
"""Gives up calls of webhooks whose turn never comes, and forgets those that ended long ago."""

from openhorde.server.actions.horde import Horde
from openhorde.server.domain.webhooks import KEPT, LEFT_ALONE, LEFT_ALONE_FOR
from openhorde.server.store import webhooks

BATCHES_MAX = 100


async def run(horde: Horde) -> None:
    """Give up and forget what is old enough."""
    now = horde.clock.now()
    for _ in range(BATCHES_MAX):
        given_up = await webhooks.give_up(
            horde.statements, created_before=now - LEFT_ALONE_FOR, now=now, error=LEFT_ALONE
        )
        if not given_up:
            break
    for _ in range(BATCHES_MAX):
        if not await webhooks.purge(horde.statements, now - KEPT):
            break
