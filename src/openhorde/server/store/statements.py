# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs named statements on a pool (or what lends its connections), or on one connection inside a
transaction."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from openhorde.server.kit.queries import Query

STREAM_ROWS_AHEAD = 2000


class Statements:
    """The named SQL of `store/sql`, ready to run. Every store function takes one first."""

    def __init__(self, executor: Any, queries: Mapping[str, Query]) -> None:
        self._executor = executor
        self._queries = queries

    async def rows(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows that the statement answers."""
        found: list[asyncpg.Record] = await self._executor.fetch(
            self._queries[name].sql, *arguments
        )
        return found

    async def row(self, name: str, *arguments: object) -> asyncpg.Record | None:
        """The first row, if any."""
        return await self._executor.fetchrow(self._queries[name].sql, *arguments)

    async def value(self, name: str, *arguments: object) -> Any:
        """The first column of the first row, if any."""
        return await self._executor.fetchval(self._queries[name].sql, *arguments)

    async def run(self, name: str, *arguments: object) -> None:
        """Run it for its effect."""
        await self._executor.execute(self._queries[name].sql, *arguments)

    async def stream(self, name: str, *arguments: object) -> AsyncIterator[asyncpg.Record]:
        """The rows one by one, some thousand in memory at a time. Only in a transaction."""
        cursor = self._executor.cursor(
            self._queries[name].sql, *arguments, prefetch=STREAM_ROWS_AHEAD
        )
        async for row in cursor:
            yield row

    @asynccontextmanager
    async def snapshot(self) -> "AsyncIterator[Statements]":
        """Everything as it is at one moment, and only to be read. Only on a pool."""
        async with (
            self._executor.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield Statements(connection, self._queries)

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[Statements]":
        """The same statements on one connection, in one transaction. Only on a pool."""
        async with self._executor.acquire() as connection, connection.transaction():
            yield Statements(connection, self._queries)
