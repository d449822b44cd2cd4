# SPDX-License-Identifier: AGPL-3.0-or-later
"""Adds deliveries to the counters of workers and users, and rests workers that give up too much."""

from datetime import timedelta

from openhorde.server.actions.horde import Horde
from openhorde.server.domain.kinds.table import KINDS
from openhorde.server.store import upkeep

MAINTENANCE_MESSAGE = (
    "This worker has been put into maintenance mode because it gave up too many jobs within an"
    " hour. Please lower its settings, check it, and end the maintenance yourself."
)
KEPT = timedelta(days=1)
_ABORTED_JOBS_MAX = {name: kind.aborted_jobs_max for name, kind in KINDS.items()}
_KINDS_BY_TIME = [name for name, kind in KINDS.items() if kind.speed_by_time]


async def run(horde: Horde) -> None:
    """Count until less than a batch is left, then forget what has served its time."""
    while True:
        counted = await upkeep.count_deliveries(
            horde.statements, _ABORTED_JOBS_MAX, MAINTENANCE_MESSAGE, _KINDS_BY_TIME
        )
        if counted.deliveries < upkeep.COUNT_BATCH:
            break
    await upkeep.prune_deliveries(horde.statements, horde.clock.now() - KEPT)
