# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the actions work with, put together once by boot and handed down."""

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from openhorde.server.actions.assignments import Assignments
from openhorde.server.actions.check_ins import CheckIns
from openhorde.server.actions.queue import Queue
from openhorde.server.actions.skipped import Skips
from openhorde.server.actions.source_desk import SourceDesk
from openhorde.server.actions.steps import StepReports
from openhorde.server.actions.waiting import Waiters
from openhorde.server.actions.watching import Watches
from openhorde.server.actions.workforce import Workforce
from openhorde.server.domain.reference import Reference
from openhorde.server.kit.clock import Clock
from openhorde.server.kit.disk import Disk
from openhorde.server.kit.fetch import Fetcher
from openhorde.server.kit.queries import Query
from openhorde.server.kit.signing import SigningKey
from openhorde.server.settings import ServerSettings
from openhorde.server.store.blobs import Blobs
from openhorde.server.store.signals import Signals
from openhorde.server.store.statements import Statements
from openhorde.server.store.users import Accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Horde:
    """One server process's means. `salt` goes into the hash of every key; of `webhook_secret` are
    made the secrets that webhooks are signed with."""

    settings: ServerSettings
    pool: asyncpg.Pool
    queries: Mapping[str, Query]
    statements: Statements
    blobs: Blobs
    disk: Disk
    fetcher: Fetcher
    webhook_fetcher: Fetcher
    webhook_secret: bytes
    clock: Clock
    salt: bytes
    ledger_key: SigningKey
    reference: Reference
    accounts: Accounts
    signals: Signals
    queue: Queue
    waiters: Waiters
    watches: Watches
    step_reports: StepReports
    workforce: Workforce
    check_ins: CheckIns
    assignments: Assignments
    skips: Skips
    source_desk: SourceDesk
