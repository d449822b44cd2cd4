# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signs the head of the ledger's chain once a day (UTC), for whoever wants to keep it."""

from openhorde.server.actions.horde import Horde
from openhorde.server.domain.chain import EMPTY, root_message
from openhorde.server.store import chain


async def run(horde: Horde) -> None:
    """Sign today's root, unless it is signed or there is nothing to sign."""
    today = horde.clock.now().date()
    if await chain.is_signed_on(horde.statements, today):
        return
    head, _ = await chain.head(horde.statements)
    if head == EMPTY:
        return
    key = horde.ledger_key
    signature = key.sign(root_message(today, head))
    await chain.save_root(horde.statements, today, head, key.public, signature)
