# SPDX-License-Identifier: AGPL-3.0-or-later
"""Standing duties, one file each, and the table of them."""

from openhorde.server.tasks import (
    count_deliveries,
    expire_requests,
    fold_ledger,
    promote_owners,
    prune_pictures,
    purge_requests,
    reward_uptime,
    sweep_overdue,
)
from openhorde.server.tasks.rounds import Duty

DUTIES = (
    Duty("fold the ledger", fold_ledger.run),
    Duty("promote owners", promote_owners.run),
    Duty("reward uptime", reward_uptime.run),
    Duty("count deliveries", count_deliveries.run),
    Duty("sweep overdue jobs", sweep_overdue.run),
    Duty("expire requests", expire_requests.run, rounds=6),
    Duty("purge requests", purge_requests.run, rounds=6),
    Duty("prune pictures", prune_pictures.run, rounds=12),
)
