# SPDX-License-Identifier: AGPL-3.0-or-later
"""The body of a call: taken within its bounds, and read where it holds nobody up."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakValueDictionary

from openhorde.server.api.bodies import BodyReader
from openhorde.server.api.operations import Call, Operation
from openhorde.server.kit.addresses import network
from openhorde.server.store.users import ANONYMOUS_ID

READ_AT_ONCE_BYTES_MAX = 64 << 10
"""A body up to this size is read in less time than it takes to hand it to a thread."""

THREADS = 2
_LENGTH_DIGITS_MAX = 15


class BodyTooLarge(Exception):
    """The body has more than `limit` bytes; callers with an account may send `limit_named`."""

    def __init__(self, limit: int, limit_named: int) -> None:
        super().__init__(limit, limit_named)
        self.limit = limit
        self.limit_named = limit_named


class Receiver:
    """Takes and reads bodies for one process.

    Large ones are read by threads, one at a time of each address: whoever sends many waits for
    their own only.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "bodies")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def receive(self, call: Call, operation: Operation, reader: BodyReader | None) -> Any:
        """The body as its operation declares it; without a reader the bytes as they came.

        Raises BodyTooLarge, and what Call.chunks and BodyReader.read raise.
        """
        raw = await _take(call, operation)
        if reader is None:
            return raw
        if len(raw) <= READ_AT_ONCE_BYTES_MAX:
            return reader.read(raw)
        turn = self._turns.setdefault(network(call.client_address), asyncio.Lock())
        async with turn:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, reader.read, raw)


async def _take(call: Call, operation: Operation) -> bytes:
    limit = operation.body_bytes_max
    if call.account is None or call.account.id == ANONYMOUS_ID:
        limit = min(limit, operation.body_bytes_max_anonymous)
    declared = call.headers.get(b"content-length", b"0")
    if len(declared) > _LENGTH_DIGITS_MAX or (declared.isdigit() and int(declared) > limit):
        raise BodyTooLarge(limit, operation.body_bytes_max)
    parts = []
    size = 0
    async for part in call.chunks():
        size += len(part)
        if size > limit:
            raise BodyTooLarge(limit, operation.body_bytes_max)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
