# SPDX-License-Identifier: AGPL-3.0-or-later
"""Standing duties, one file each, and the table of them."""

from openhorde.server.store.signals import Changed, Edited
from openhorde.server.tasks import (
    call_webhooks,
    count_deliveries,
    drop_sources,
    expire_requests,
    fold_ledger,
    grant_monthly,
    promote_owners,
    prune_lanes,
    prune_pictures,
    purge_requests,
    purge_webhooks,
    reward_uptime,
    sign_ledger,
    sweep_overdue,
)
from openhorde.server.tasks.rounds import Duty

DUTIES = (
    Duty("fold the ledger", fold_ledger.run, woken_by=Edited),
    Duty("promote owners", promote_owners.run),
    Duty("reward uptime", reward_uptime.run),
    Duty("count deliveries", count_deliveries.run),
    Duty("sweep overdue jobs", sweep_overdue.run),
    Duty("expire requests", expire_requests.run, rounds=6),
    Duty("drop sources", drop_sources.run),
    Duty("purge requests", purge_requests.run, rounds=6),
    Duty("call webhooks", call_webhooks.run, woken_by=Changed),
    Duty("purge webhooks", purge_webhooks.run, rounds=12),
    Duty("prune lanes", prune_lanes.run, rounds=720),
    Duty("grant monthly kudos", grant_monthly.run, rounds=720),
    Duty("sign the ledger", sign_ledger.run, rounds=12),
    Duty("prune pictures", prune_pictures.run, rounds=12, each_server=True),
)
