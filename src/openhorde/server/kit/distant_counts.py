# SPDX-License-Identifier: AGPL-3.0-or-later
"""Counts in fixed windows of time that several machines share, kept by a Redis or Valkey."""

import asyncio
import math
from collections.abc import Sequence
from time import monotonic

import structlog
from limits.aio.storage import RedisStorage
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

ANSWER_SECONDS_MAX = 0.25
"""A call is not kept waiting for longer than this."""

AWAY_SECONDS = 2.0
"""After a failure nobody asks again for so long."""

CONNECTIONS_MAX = 32

_log = structlog.get_logger("openhorde.counts")


class DistantCounts:
    """Counts on another machine. It may be away: then somebody else has to count."""

    def __init__(self, url: str) -> None:
        """`url` is redis://, rediss://, valkey:// or valkeys:// (they speak the same)."""
        scheme, _, rest = url.partition("://")
        address = f"{scheme.replace('valkey', 'redis')}://{rest}"
        self._pool = BlockingConnectionPool.from_url(
            address,
            max_connections=CONNECTIONS_MAX,
            timeout=ANSWER_SECONDS_MAX,
            socket_connect_timeout=ANSWER_SECONDS_MAX,
        )
        self._storage = RedisStorage(
            f"async+{address}",
            implementation="redispy",
            key_prefix="openhorde",
            connection_pool=self._pool,  # type: ignore[arg-type]
        )
        self._away_until = -math.inf

    async def add(self, windows: Sequence[tuple[str, int]]) -> list[int] | None:
        """Count once more in each window, given as key and seconds; the counts with this one, or
        None while there is no answer."""
        if monotonic() < self._away_until:
            return None
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                counts = await asyncio.gather(
                    *(self._storage.incr(key, seconds) for key, seconds in windows)
                )
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = monotonic() + AWAY_SECONDS
            _log.warning("counts_away", reason=type(error).__name__)
            return None
        return list(counts)

    async def ends_at(self, key: str) -> float | None:
        """When the open window ends, in seconds since 1970; None while there is no answer."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return await self._storage.get_expiry(key)
        except (RedisError, OSError, TimeoutError):
            return None

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()
