# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where source pictures are looked at in turn, and how much room they take in the store."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.turns import Crowded, Turns
from openhorde.server.store import requests
from openhorde.server.store.statements import Statements

T = TypeVar("T")

LARGE_PIXELS = 3072 * 3072
"""Larger pictures than that are decoded one at a time: each takes hundreds of megabytes."""

SMALL_AT_ONCE_MAX = 4
WAITING_PER_OWNER_MAX = 32
WAITING_BYTES_MAX = 256 << 20
TOTAL_SECONDS = 5.0
BUSY_RETRY_SECONDS = 5
FULL_RETRY_SECONDS = 60


class Sender(NamedTuple):
    """Whose pictures these are: an account, or whoever has none in one network (an address, of IPv6
    the first one of its /64)."""

    user_id: int
    network: str | None


class SourceDesk:
    """For one process: decodes sources, each sender in turn, and keeps them within their quotas.

    What a sender's unfinished requests hold is counted in the database whenever pictures come; what
    all requests hold, every few seconds, plus what came here since. What is on its way into the
    store counts, too. A quota of 0 is none.
    """

    def __init__(
        self, statements: Statements, *, bytes_per_sender_max: int, bytes_max: int
    ) -> None:
        self._statements = statements
        self._bytes_per_sender_max = bytes_per_sender_max
        self._bytes_max = bytes_max
        self._coming: Counter[Sender] = Counter()
        self._total = 0
        self._total_read_at: float | None = None
        self._small, self._large = (
            Turns(
                f"{name}-pictures",
                threads,
                waiting_per_owner_max=WAITING_PER_OWNER_MAX,
                waiting_bytes_max=WAITING_BYTES_MAX,
            )
            for name, threads in (
                ("small", min(SMALL_AT_ONCE_MAX, os.cpu_count() or 1)),
                ("large", 1),
            )
        )

    async def decode(
        self, sender: Sender, pixels: int, size_bytes: int, work: Callable[[], T]
    ) -> T:
        """What `work` makes of a picture, when it is the sender's turn. Raises Refusal when too
        much waits already."""
        turns = self._large if pixels > LARGE_PIXELS else self._small
        try:
            return await turns.run(sender, size_bytes, work)
        except Crowded as crowded:
            if crowded.of_owner:
                raise Refusal(
                    "TooManyPrompts",
                    reason="pictures waiting",
                    maximum=crowded.maximum,
                    retry_after_seconds=BUSY_RETRY_SECONDS,
                ) from None
            raise Refusal(
                "SourceStorageFull",
                reason="pictures waiting",
                retry_after_seconds=BUSY_RETRY_SECONDS,
            ) from None

    @asynccontextmanager
    async def room(self, sender: Sender, size_bytes: int) -> AsyncIterator[None]:
        """Inside, so many bytes are put into the store and their request into the database. Raises
        Refusal naming the quota that they would cross."""
        if not size_bytes:
            yield
            return
        self._coming[sender] += size_bytes
        self._total += size_bytes
        try:
            await self._check(sender)
            yield
        except BaseException:
            self._total -= size_bytes
            raise
        finally:
            self._coming[sender] -= size_bytes
            if not self._coming[sender]:
                del self._coming[sender]

    def close(self) -> None:
        """Start nothing more."""
        self._small.close()
        self._large.close()

    async def _check(self, sender: Sender) -> None:
        if self._bytes_per_sender_max:
            held = await requests.source_bytes_of_user(
                self._statements, sender.user_id, sender.network
            )
            given = held + self._coming[sender]
            if given > self._bytes_per_sender_max:
                raise Refusal(
                    "TooManyPrompts",
                    reason="source bytes",
                    given=given,
                    maximum=self._bytes_per_sender_max,
                    retry_after_seconds=FULL_RETRY_SECONDS,
                )
        if self._bytes_max and await self._held_in_all() > self._bytes_max:
            raise Refusal(
                "SourceStorageFull",
                reason="source bytes",
                maximum=self._bytes_max,
                retry_after_seconds=FULL_RETRY_SECONDS,
            )

    async def _held_in_all(self) -> int:
        """With everything that is on its way."""
        now = asyncio.get_running_loop().time()
        if self._total_read_at is None or now - self._total_read_at > TOTAL_SECONDS:
            self._total_read_at = now
            stored = await requests.source_bytes(self._statements)
            self._total = stored + self._coming.total()
        return self._total
