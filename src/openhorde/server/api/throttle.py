# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rate limits in fixed windows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limits import parse

from openhorde.server.api.operations import Bucket, Call, Limit, Operation
from openhorde.server.kit.addresses import network
from openhorde.server.kit.distant_counts import DistantCounts
from openhorde.server.kit.shared_counts import SharedCounts
from openhorde.server.store.users import ANONYMOUS_KEY

WELCOME_SECONDS = 86_400


class Throttled(Exception):
    """Too many calls: `rate` is the window that is full, `headers` say when to come back."""

    def __init__(self, rate: str, headers: tuple[tuple[str, str], ...]) -> None:
        super().__init__(rate)
        self.rate = rate
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Counts:
    """Where calls are counted: in memory that this machine's processes share, or by a server that
    counts for several machines, as long as that answers."""

    shared: SharedCounts
    distant: DistantCounts | None = None


@dataclass(frozen=True, slots=True)
class Windows:
    """An operation's limits, read once: for callers with a key, without one, and welcome ones."""

    named: tuple[_Window, ...]
    anonymous: tuple[_Window, ...]
    welcome: tuple[_Window, ...]
    is_welcoming: bool
    """Is more admitted from some addresses than from others?"""


class _Window:
    """One fixed window: so many calls in so many seconds."""

    __slots__ = ("bucket", "calls_max", "name", "seconds", "text")

    def __init__(self, rate: str, bucket: Bucket) -> None:
        item = parse(rate)
        self.text = str(item)
        self.calls_max = item.amount
        self.seconds = item.get_expiry()
        self.name = f"{bucket.name} {self.seconds}"
        self.bucket = bucket

    def policy(self) -> str:
        """As the header RateLimit-Policy has it."""
        return f"{self.calls_max};w={self.seconds}"


def windows_of(limits: tuple[Limit, ...]) -> Windows:
    """Read an operation's limits."""

    def read(rate: Callable[[Limit], str | None]) -> tuple[_Window, ...]:
        return tuple(_Window(rate(each) or each.rate, each.bucket) for each in limits)

    return Windows(
        named=read(lambda each: each.rate),
        anonymous=read(lambda each: each.rate_anonymous),
        welcome=read(lambda each: each.rate_welcome),
        is_welcoming=any(each.rate_welcome for each in limits),
    )


class Throttle:
    """Admits calls, or says when to come back."""

    def __init__(self, counts: Counts, now: Callable[[], float]) -> None:
        self._shared = counts.shared
        self._distant = counts.distant
        self._now = now

    async def admit(
        self, operation: Operation, windows: Windows, call: Call, path: str
    ) -> tuple[tuple[str, str], ...]:
        """Count a call; returns headers that say how much is left. Raises Throttled.

        All windows are counted before any refuses, so trying on does not help in any of them.
        """
        chosen = self._choose(windows, call)
        keys = [
            f"{operation.name} {window.name} {_identity(window.bucket, call, path)}"
            for window in chosen
        ]
        counted = await self._count(chosen, keys)
        lefts = [each.calls_max - count for each, (count, _) in zip(chosen, counted, strict=True)]
        left = min(lefts)
        place = lefts.index(left)
        tightest, ends_at = chosen[place], counted[place][1]
        if ends_at is None:
            ends_at = await self._ends_at(keys[place]) or self._now() + tightest.seconds
        seconds = min(max(1, math.ceil(ends_at - self._now())), tightest.seconds)
        limit, remaining = str(tightest.calls_max), str(max(0, left))
        headers = (
            ("X-RateLimit-Limit", limit),
            ("X-RateLimit-Remaining", remaining),
            ("X-RateLimit-Reset", str(math.ceil(ends_at))),
            ("RateLimit-Limit", limit),
            ("RateLimit-Remaining", remaining),
            ("RateLimit-Reset", str(seconds)),
            ("RateLimit-Policy", ", ".join([window.policy() for window in chosen])),
        )
        if left < 0:
            raise Throttled(tightest.text, (("Retry-After", str(seconds)), *headers))
        return headers

    def welcome(self, call: Call) -> None:
        """Admit more from this call's address for a day: somebody trusted calls from there."""
        self._shared.add(f"welcome {network(call.client_address)}", WELCOME_SECONDS)

    async def _ends_at(self, key: str) -> float | None:
        return await self._distant.ends_at(key) if self._distant is not None else None

    def _choose(self, windows: Windows, call: Call) -> tuple[_Window, ...]:
        if windows.is_welcoming and self._shared.count(f"welcome {network(call.client_address)}"):
            return windows.welcome
        return windows.anonymous if call.api_key in ("", ANONYMOUS_KEY) else windows.named

    async def _count(
        self, windows: tuple[_Window, ...], keys: list[str]
    ) -> Sequence[tuple[int, float | None]]:
        """Count a call in each window: the counts, and when the windows end where that is known
        with no further question."""
        pairs = [(key, window.seconds) for key, window in zip(keys, windows, strict=True)]
        if self._distant is not None:
            counted = await self._distant.add(pairs)
            if counted is not None:
                return [(count, None) for count in counted]
        return [self._shared.add(key, seconds) for key, seconds in pairs]


def _identity(bucket: Bucket, call: Call, path: str) -> str:
    if bucket is Bucket.ADDRESS:
        return network(call.client_address)
    if bucket is Bucket.ADDRESS_AND_PATH:
        return f"{network(call.client_address)} {path}"
    # A hash, because a server of somebody else's may keep it.
    key = (call.api_key or ANONYMOUS_KEY).encode()
    return f"{hashlib.sha256(key).hexdigest()} {path}"
