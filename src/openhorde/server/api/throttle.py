# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rate limits in fixed windows, counted by the library `limits`."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from openhorde.server.api.operations import Bucket, Call, Limit, Operation
from openhorde.server.store.users import ANONYMOUS_KEY

_SWEEP_EACH = 10_000


class Throttled(Exception):
    """Too many calls: `rate` is the window that is full, `headers` say when to come back."""

    def __init__(self, rate: str, headers: tuple[tuple[str, str], ...]) -> None:
        super().__init__(rate)
        self.rate = rate
        self.headers = headers


class WindowStorage(Storage):
    """Counts in this process, by a given clock (`limits`' own storage starts a thread per second).

    What has expired is swept away whenever the number of counts has grown by some thousands.
    """

    STORAGE_SCHEME = None

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._windows: dict[str, tuple[int, float]] = {}
        self._sweep_at = _SWEEP_EACH

    @property
    def base_exceptions(self) -> type[Exception]:
        """What failures look like: there are none."""
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a count, opening its window if none is."""
        now = self._now()
        count, ends_at = self._windows.get(key, (0, 0.0))
        if ends_at <= now:
            count, ends_at = 0, now + expiry
            if len(self._windows) >= self._sweep_at:
                self._sweep(now)
        self._windows[key] = (count + amount, ends_at)
        return count + amount

    def _sweep(self, now: float) -> None:
        self._windows = {key: each for key, each in self._windows.items() if each[1] > now}
        self._sweep_at = len(self._windows) + _SWEEP_EACH

    def get(self, key: str) -> int:
        """The count of the open window; 0 if none is."""
        count, ends_at = self._windows.get(key, (0, 0.0))
        return count if ends_at > self._now() else 0

    def get_expiry(self, key: str) -> float:
        """When the open window ends."""
        return self._windows.get(key, (0, self._now()))[1]

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def reset(self) -> int:
        """Forget all counts."""
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget one count."""
        self._windows.pop(key, None)


@dataclass(frozen=True, slots=True)
class _Window:
    item: RateLimitItem
    item_anonymous: RateLimitItem
    bucket: Bucket


class Throttle:
    """Admits calls, or says when to come back."""

    def __init__(self, storage: Storage, now: Callable[[], float]) -> None:
        self._storage = storage
        self._limiter = FixedWindowRateLimiter(storage)
        self._now = now

    def windows_of(self, limits: tuple[Limit, ...]) -> tuple[_Window, ...]:
        """Read an operation's limits, once."""
        return tuple(
            _Window(parse(each.rate), parse(each.rate_anonymous or each.rate), each.bucket)
            for each in limits
        )

    def admit(
        self, operation: Operation, windows: tuple[_Window, ...], call: Call, path: str
    ) -> tuple[tuple[str, str], ...]:
        """Count a call; returns headers that say how much is left. Raises Throttled.

        All windows are counted before any refuses, so trying on does not help in any of them.
        """
        tightest: tuple[int, RateLimitItem, str] | None = None
        for window in windows:
            anonymous = call.api_key in ("", ANONYMOUS_KEY)
            item = window.item_anonymous if anonymous else window.item
            identity = _identity(window.bucket, call, path)
            within = self._limiter.hit(item, operation.name, identity)
            key = item.key_for(operation.name, identity)
            left = item.amount - self._storage.get(key) if within else -1
            if tightest is None or left < tightest[0]:
                tightest = (left, item, key)
        if tightest is None:
            return ()
        left, item, key = tightest
        seconds = max(1, math.ceil(self._storage.get_expiry(key) - self._now()))
        headers = (
            ("X-RateLimit-Limit", str(item.amount)),
            ("X-RateLimit-Remaining", str(max(0, left))),
            ("X-RateLimit-Reset", str(math.ceil(self._storage.get_expiry(key)))),
        )
        if left < 0:
            raise Throttled(str(item), (("Retry-After", str(seconds)), *headers))
        return headers


def _identity(bucket: Bucket, call: Call, path: str) -> str:
    if bucket is Bucket.ADDRESS:
        return _network(call.client_address)
    if bucket is Bucket.ADDRESS_AND_PATH:
        return f"{_network(call.client_address)} {path}"
    # A hash, because another storage than this process's memory may keep it.
    key = (call.api_key or ANONYMOUS_KEY).encode()
    return f"{hashlib.sha256(key).hexdigest()} {path}"


@lru_cache(maxsize=10_000)
def _network(address: str) -> str:
    """Whom an address stands for: one IPv6 subscriber has a whole /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return address
