# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which failures of a call are those of what the server stands on."""

import asyncpg


def is_unstorable(error: Exception) -> bool:
    """Whether no column can hold a value: PostgreSQL says so, or the driver cannot even send it."""
    of_driver = isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    return of_driver or isinstance(error, asyncpg.DataError)


def is_database_away(error: Exception) -> bool:
    """Whether there is no connection: it broke, or PostgreSQL is starting or stopping."""
    away = (
        asyncpg.PostgresConnectionError,
        asyncpg.CannotConnectNowError,
        asyncpg.AdminShutdownError,
        asyncpg.CrashShutdownError,
        asyncpg.InterfaceError,
        # What the driver says of a connection whose end it has read but not noticed yet.
        asyncpg.InternalClientError,
        ConnectionError,
        FileNotFoundError,
    )
    return isinstance(error, away)
