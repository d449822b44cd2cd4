# SPDX-License-Identifier: AGPL-3.0-or-later
"""One read for all who wait for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class SingleFlight(Generic[Value]):
    """Runs one read for all who wait for it. Each caller gets a result whose read began after its
    call, so "fresh" means fresh."""

    def __init__(self, read: Callable[[], Awaitable[Value]]) -> None:
        self._read = read
        self._running: asyncio.Task[Value] | None = None
        self._next: asyncio.Task[Value] | None = None

    async def fresh(self) -> Value:
        """A result that is younger than this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
        return await asyncio.shield(self._next)

    async def _after(self, running: "asyncio.Task[Value] | None") -> Value:
        if running is not None:
            await asyncio.wait({running})
        self._running, self._next = self._next, None
        return await self._read()
