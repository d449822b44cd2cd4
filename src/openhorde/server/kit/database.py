# SPDX-License-Identifier: AGPL-3.0-or-later
"""A pool of connections to PostgreSQL."""

from typing import Any

import asyncpg
import msgspec

VERSION_MIN = 15

DATABASE_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What the driver says when it sees a server end in the middle of something.
    asyncpg.InternalClientError,
)
"""What may be raised where the database does not answer."""

_CONNECT_SECONDS = 30


class DatabaseUnusable(Exception):
    """The database cannot be used; the text says why and what to do."""


async def open_pool(
    dsn: str,
    *,
    connections_min: int,
    connections_max: int,
    application_name: str = "openhorde",
) -> asyncpg.Pool:
    """Connect `connections_min` connections at once; the pool grows to `connections_max`.

    Columns of type `jsonb` come and go as plain Python values (through msgspec), `uuid` as
    `uuid.UUID` (asyncpg's own faster subclass of it), `timestamptz` as aware datetimes.

    A connection that goes back to the pool is *not* reset on the server (that round trip costs a
    quarter of the throughput). An open transaction is rolled back all the same; but statements
    must leave no session state behind: no `set` without `local`, no session advisory lock, no
    temporary table, no `listen`. Who needs these opens a connection of their own.

    A connection plans each statement once, whatever its arguments. Left to itself PostgreSQL may
    plan one anew for every call, because it compares what plans would cost in a small queue and in
    a deep one; that takes longer than the statement. So a statement must be good for any values: a
    range with an open end wants an order and a limit.

    Raises DatabaseUnusable when there is no connection, or the server is older than PostgreSQL 15.
    """
    try:
        return await asyncpg.create_pool(
            dsn,
            min_size=connections_min,
            max_size=connections_max,
            timeout=_CONNECT_SECONDS,
            init=_prepare_lent,
            reset=_keep_session,
            # A pool serves hot statements all day: idle connections may stay.
            max_inactive_connection_lifetime=0,
            server_settings={"application_name": application_name},
        )
    except DATABASE_AWAY as error:
        # The DSN may hold a password: it must not reach a log through this text.
        raise DatabaseUnusable(
            f"cannot connect to PostgreSQL ({type(error).__name__}: {error}). Check that the"
            " server runs, and that host, port, user, password and database of the DSN are right."
        ) from error


async def prepare_connection(connection: asyncpg.Connection) -> None:
    """Give a connection (of the pool, or one's own) the types above and check its version."""
    version = connection.get_server_version()
    if version.major < VERSION_MIN:
        raise DatabaseUnusable(
            f"PostgreSQL {version.major}.{version.minor} is too old: at least {VERSION_MIN} is"
            " needed. Upgrade the server (pg_upgrade), or give another DSN."
        )
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode_json, decoder=msgspec.json.decode
    )


async def _prepare_lent(connection: asyncpg.Connection) -> None:
    await prepare_connection(connection)
    # Not among the settings a connection starts with: some poolers know few of those.
    await connection.execute("set plan_cache_mode = force_generic_plan")


async def connections_max(connection: asyncpg.Connection) -> int:
    """How many connections PostgreSQL takes from ordinary users, all together."""
    taken: int = await connection.fetchval(
        "select current_setting('max_connections')::integer"
        " - current_setting('superuser_reserved_connections')::integer"
        " - coalesce(current_setting('reserved_connections', true), '0')::integer"
    )
    return taken


def _encode_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


async def _keep_session(_connection: asyncpg.Connection) -> None:
    # Nothing is sent: see open_pool.
    return
