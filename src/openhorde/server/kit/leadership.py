# SPDX-License-Identifier: AGPL-3.0-or-later
"""One of many processes leads: whoever holds an advisory lock of their common PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg
import structlog

from openhorde.server.kit.database import DATABASE_AWAY

TRY_AGAIN_SECONDS = 2.0
"""Others ask this often whether they can lead. Asking again, rather than waiting in the database
for the lock: a statement that waits keeps old rows from being cleared away."""

HEARTBEAT_SECONDS = 4.0
ANSWER_SECONDS_MAX = 4.0
"""A leader that hears nothing from PostgreSQL for these two together leads no more ..."""

_SERVER_SETTINGS = {
    "application_name": "openhorde leader",
    # ... which is sooner than PostgreSQL gives up a host that fell silent, and so the lock.
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}

_log = structlog.get_logger("openhorde.leadership")


async def lead(
    dsn: str,
    lock: int,
    work: Callable[[], Awaitable[None]],
    *,
    try_again_seconds: float = TRY_AGAIN_SECONDS,
) -> None:
    """Do `work` for ever while this process holds the lock; try for ever to get it.

    `work` is cancelled as soon as the connection is lost, and begun anew when the lock is held
    again. PostgreSQL gives the lock to nobody else before the connection is gone; but between
    that moment and the end of `work` there is no fence: what it does must be harmless when two
    do it at once for a moment.

    The connection is one of its own and must keep its session (no pooler in transaction mode).
    """
    while True:
        try:
            await _lead_once(dsn, lock, work, try_again_seconds)
        except DATABASE_AWAY as error:
            _log.info("leadership_away", reason=type(error).__name__)
        await asyncio.sleep(try_again_seconds)


async def _lead_once(
    dsn: str, lock: int, work: Callable[[], Awaitable[None]], try_again_seconds: float
) -> None:
    connection = await asyncpg.connect(
        dsn,
        timeout=ANSWER_SECONDS_MAX,
        command_timeout=ANSWER_SECONDS_MAX,
        server_settings=_SERVER_SETTINGS,
    )
    try:
        while True:
            if await connection.fetchval("select pg_try_advisory_lock($1::bigint)", lock):
                break
            await asyncio.sleep(try_again_seconds)
        _log.info("leading")
        await _work_while_connected(connection, work)
        _log.warning("leadership_lost")
    finally:
        # Not closed politely: nobody waits for an answer from a server that may be away.
        connection.terminate()


async def _work_while_connected(
    connection: asyncpg.Connection, work: Callable[[], Awaitable[None]]
) -> None:
    """Work until the connection is lost."""
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _connection: lost.set())
    working = asyncio.ensure_future(work())
    watching = asyncio.create_task(_watch(connection, lost))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _watch(connection: asyncpg.Connection, lost: asyncio.Event) -> None:
    """Return when the connection is lost, or does not answer."""
    while not connection.is_closed():
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await lost.wait()
                return
        try:
            await connection.fetchval("select 1")
        except DATABASE_AWAY:
            return
