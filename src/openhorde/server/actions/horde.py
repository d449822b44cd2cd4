# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the actions work with, put together once by boot and handed down."""

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from openhorde.server.actions.check_ins import CheckIns
from openhorde.server.actions.queue import Queue
from openhorde.server.actions.workforce import Workforce
from openhorde.server.domain.reference import Reference
from openhorde.server.kit.clock import Clock
from openhorde.server.kit.fetch import Fetcher
from openhorde.server.kit.queries import Query
from openhorde.server.settings import ServerSettings
from openhorde.server.store.blobs import Blobs
from openhorde.server.store.statements import Statements
from openhorde.server.store.users import Accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Horde:
    """One server process's means. `salt` goes into the hash of every key."""

    settings: ServerSettings
    pool: asyncpg.Pool
    queries: Mapping[str, Query]
    statements: Statements
    blobs: Blobs
    fetcher: Fetcher
    clock: Clock
    salt: bytes
    reference: Reference
    accounts: Accounts
    queue: Queue
    workforce: Workforce
    check_ins: CheckIns
