# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is measured: waits by tier, fairness among those who wait, depth and utilisation."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from openhorde.simulation.population import TIERS

WINDOW_SECONDS: Final = 600.0


class Served(Struct, frozen=True):
    """A job that was taken. Seconds; `service_seconds` is what the worker needs for it."""

    user_id: int
    tier: str
    asked_at: float
    wait_seconds: float
    service_seconds: float
    things: int


class TierFigures(Struct, frozen=True, kw_only=True):
    """The waits of one tier, in seconds. `starved` jobs expired though a worker could serve them.

    Percentiles are over jobs that were served. `slowdown` is the median of (wait + service) /
    service.
    """

    tier: str
    served: int
    starved: int
    turned_away: int
    p50: float
    p95: float
    p99: float
    longest: float
    slowdown: float


class Sample(Struct, frozen=True, kw_only=True):
    """The horde at one moment, seconds from the start."""

    seconds: float
    waiting: int
    busy: int
    online: int


class Fairness(Struct, frozen=True):
    """Jain's index over one window: 1 when all who waited throughout got the same per weight.

    Users are compared who want the same model, since others compete for other workers; the mean
    over models, weighted by `users`.
    """

    seconds: float
    index: float
    users: int


class Result(Struct, frozen=True, kw_only=True):
    """What came of one run."""

    policy: str
    hours: float
    jobs_asked: int
    jobs_served: int
    jobs_starved: int
    jobs_impossible: int
    jobs_turned_away: int
    jobs_waiting_at_end: int
    kudos_total_milli: int
    utilisation: float
    jobs_per_second: float
    jain: float
    tiers: tuple[TierFigures, ...]
    samples: tuple[Sample, ...]
    fairness: tuple[Fairness, ...]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the ordered values lie; 0 for none."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def jain(amounts: Sequence[float]) -> float:
    """Jain's index: 1 when all are equal, 1/n when one has everything; 1 when nobody has any."""
    squares = sum(amount * amount for amount in amounts)
    return sum(amounts) ** 2 / (len(amounts) * squares) if squares else 1.0


def tier_figures(
    served: Sequence[Served], starved: dict[str, int], turned_away: dict[str, int]
) -> tuple[TierFigures, ...]:
    """The figures of every tier that asked for anything."""
    found = []
    for tier in TIERS:
        jobs = [job for job in served if job.tier == tier]
        if not jobs and not starved.get(tier) and not turned_away.get(tier):
            continue
        waits = sorted(job.wait_seconds for job in jobs)
        slowdowns = sorted(1 + job.wait_seconds / job.service_seconds for job in jobs)
        found.append(
            TierFigures(
                tier=tier,
                served=len(jobs),
                starved=starved.get(tier, 0),
                turned_away=turned_away.get(tier, 0),
                p50=percentile(waits, 0.5),
                p95=percentile(waits, 0.95),
                p99=percentile(waits, 0.99),
                longest=percentile(waits, 1.0),
                slowdown=percentile(slowdowns, 0.5),
            )
        )
    return tuple(found)


class Window:
    """Who waits and who is served, in windows of ten minutes.

    A key is (user, model); only users whose jobs for the model waited throughout count.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, str], int] = {}
        self._at_start: set[tuple[int, str]] = set()
        self._paused: set[tuple[int, str]] = set()
        self._served: dict[tuple[int, str], float] = {}
        self.found: list[Fairness] = []

    def joined(self, user_id: int, market: str, jobs: int) -> None:
        """Jobs began to wait."""
        key = (user_id, market)
        self._waiting[key] = self._waiting.get(key, 0) + jobs

    def left(self, user_id: int, market: str, jobs: int, normalised_things: float = 0.0) -> None:
        """Jobs no longer wait; the work that was served of them, divided by the user's weight."""
        key = (user_id, market)
        self._served[key] = self._served.get(key, 0.0) + normalised_things
        self._waiting[key] -= jobs
        if not self._waiting[key]:
            del self._waiting[key]
            self._paused.add(key)

    def close(self, seconds: float) -> None:
        """The window ends at this moment and the next begins."""
        markets: dict[str, list[float]] = {}
        for key in self._waiting:
            if key in self._at_start and key not in self._paused:
                markets.setdefault(key[1], []).append(self._served.get(key, 0.0))
        groups = [amounts for amounts in markets.values() if len(amounts) > 1 and any(amounts)]
        users = sum(map(len, groups))
        if users:
            index = sum(jain(amounts) * len(amounts) for amounts in groups) / users
            self.found.append(Fairness(seconds, index, users))
        self._at_start = set(self._waiting)
        self._paused.clear()
        self._served.clear()

    def mean(self) -> float:
        """The mean index over all windows, each as heavy as its users; 1 when none was fit."""
        users = sum(each.users for each in self.found)
        return sum(each.index * each.users for each in self.found) / users if users else 1.0
