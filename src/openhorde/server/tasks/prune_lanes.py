# SPDX-License-Identifier: AGPL-3.0-or-later
"""Forgets lanes that have long been empty, so that invented needs do not pile up."""

from datetime import timedelta

from openhorde.server.actions.horde import Horde
from openhorde.server.store import lanes

KEPT = timedelta(days=1)
"""Far longer than any server trusts what it remembers of a lane's number."""


async def run(horde: Horde) -> None:
    """Forget every lane that nobody has asked for in a day and that nothing is in."""
    await lanes.prune_lanes(horde.statements, horde.clock.now() - KEPT)
