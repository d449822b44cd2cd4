# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lends a pool's connections for one statement each, and keeps them in hand in between.

To take a connection out of asyncpg's pool and to give it back costs the processor more than a
small statement does. So what has worked stays here; the pool still makes the connections, and gets
back those on which anything went wrong, as it knows how to mend or to drop them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg


class Lender:
    """Up to `count` connections of a pool, with the calls that a pool has."""

    def __init__(self, pool: asyncpg.Pool, count: int) -> None:
        self._pool = pool
        self._left = count
        self._idle: list[Any] = []
        self._waiting: deque[asyncio.Future[Any]] = deque()

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows."""
        connection = await self._borrow()
        try:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
        except BaseException:
            await self._hand_back(connection)
            raise
        self._keep(connection)
        return rows

    async def fetchrow(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        """The first row, if any."""
        rows = await self.fetch(sql, *arguments)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        """The first column of the first row, if any."""
        rows = await self.fetch(sql, *arguments)
        return rows[0][0] if rows else None

    async def execute(self, sql: str, *arguments: object) -> None:
        """Run a statement for its effect."""
        await self.fetch(sql, *arguments)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """A connection for several statements."""
        connection = await self._borrow()
        try:
            yield connection
        except BaseException:
            await self._hand_back(connection)
            raise
        self._keep(connection)

    async def close(self) -> None:
        """Give the pool back what is idle here."""
        while self._idle:
            await self._hand_back(self._idle.pop())

    async def _borrow(self) -> Any:
        while True:
            while self._idle:
                connection = self._idle.pop()
                if _is_alive(connection):
                    return connection
                await self._hand_back(connection)
            if self._left:
                self._left -= 1
                try:
                    return await self._pool.acquire()
                except BaseException:
                    self._left += 1
                    self._pass_on(None)
                    raise
            turn: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                connection = await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._keep(turn.result())
                raise
            if connection is not None:
                self._idle.append(connection)

    def _keep(self, connection: Any) -> None:
        """Whoever takes it next finds out whether it still lives."""
        if not self._pass_on(connection) and connection is not None:
            self._idle.append(connection)

    def _pass_on(self, connection: Any) -> bool:
        """To whoever has waited longest, be it only the news that there is room."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return True
        return False

    async def _hand_back(self, connection: Any) -> None:
        try:
            await self._pool.release(connection)
        finally:
            self._left += 1
            self._pass_on(None)


def _is_alive(connection: Any) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        return False  # The pool has seen it die, and taken it back by itself.
