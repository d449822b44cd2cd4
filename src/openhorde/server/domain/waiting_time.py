# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long a request will take, from what waits before it and how fast workers have been.

The estimate is a fluid one. What waits is poured onto the workers: each lane fills up those that
fit it, the least busy first, the pickiest lane before the others. Of this the part counts that
goes before the request. Its first job begins when the first worker that fits has done that part
(at once where a thread is idle), its other jobs fill up the workers in the same way, and then the
last job itself takes as long as one of these workers needs for it.

p50 takes this as it stands and the median speed (half of all work is done by workers that are at
least as fast). p90 takes the slow end of the speeds and a longer way to the front: were jobs of
random (exponential) length, the sum of k of them would be Erlang distributed with a standard
deviation of its mean / sqrt(k), and its 90th percentile lies about 1.28 of these above the mean.

Not foreseen: requests that come later and go before this one, workers that come or go, failures.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import sqrt
from typing import Final

from msgspec import Struct

from openhorde.server.domain.crew import members

NORMAL_P90: Final = 1.2816
POURING_ROUNDS: Final = 2
SETS_APART_MAX: Final = 64
"""Lanes are told apart by the workers that fit them. Beyond so many different sets the lighter ones
are poured together, over all workers that fit any of them."""


class Eta(Struct, frozen=True):
    """Seconds until a request is done: in half of all cases, and in nine of ten, it takes no
    longer."""

    p50_seconds: float
    p90_seconds: float


class Hand(Struct, frozen=True):
    """One worker: `speed` in things a second of one thread, above 0. `busy` of its `threads` have
    a job, and have `busy_seconds` to go with it on average."""

    threads: int
    speed: float
    busy: int = 0
    busy_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Things a second of all threads."""
        return self.threads * self.speed


class Team:
    """Workers that serve the same request, with what they have to do before it."""

    __slots__ = ("_done", "_free_at", "_rates", "median_speed", "slow_speed")

    def __init__(self, hands: Iterable[tuple[Hand, float]]) -> None:
        """Each worker, and the things that it does before. Raises ValueError for nobody."""
        by_speed: list[tuple[float, float]] = []
        starts: list[tuple[float, float]] = []
        for hand, before in hands:
            speed, busy_seconds = hand.speed, hand.busy_seconds
            idle_rate = (hand.threads - hand.busy) * speed
            busy_rate = hand.busy * speed
            by_speed.append((speed, idle_rate + busy_rate))
            if before > idle_rate * busy_seconds:
                ready = (before + busy_rate * busy_seconds) / (idle_rate + busy_rate)
                starts.append((ready, idle_rate + busy_rate))
                continue
            if idle_rate:
                starts.append((before / idle_rate, idle_rate))
            if busy_rate:
                starts.append((busy_seconds, busy_rate))
        if not starts:
            raise ValueError("a team has at least one worker")
        by_speed.sort()
        starts.sort()
        self.median_speed = _quantile(by_speed, 0.5)
        self.slow_speed = _quantile(by_speed, 0.1)
        self._free_at = [seconds for seconds, _ in starts]
        self._rates = list(accumulate(rate for _, rate in starts))
        self._done = [0.0]
        for place in range(1, len(starts)):
            span = self._free_at[place] - self._free_at[place - 1]
            self._done.append(self._done[-1] + span * self._rates[place - 1])

    @property
    def rate(self) -> float:
        """Things a second of all of them."""
        return self._rates[-1]

    def seconds_until_done(self, things: float) -> float:
        """When so much of the request is done; threads join as they get free."""
        place = max(0, bisect_left(self._done, things) - 1)
        return self._free_at[place] + max(0.0, things - self._done[place]) / self._rates[place]


def eta(team: Team, *, jobs: int, things_each: int, things_typical: float) -> Eta:
    """How long until the last of `jobs` new jobs of `things_each` is done.

    `things_typical` is the size of a job that waits before them.
    """
    start = team.seconds_until_done((jobs - 1) * things_each)
    spread = NORMAL_P90 * sqrt(start * things_typical / team.rate)
    return Eta(
        start + things_each / team.median_speed, start + spread + things_each / team.slow_speed
    )


def between(nearer: Eta, farther: Eta, part: float) -> Eta:
    """What lies at `part` (0 to 1) of the way from one estimate to another."""
    return Eta(
        nearer.p50_seconds + part * (farther.p50_seconds - nearer.p50_seconds),
        nearer.p90_seconds + part * (farther.p90_seconds - nearer.p90_seconds),
    )


def pour(lanes: Iterable[tuple[int, float]], hands: Sequence[Hand]) -> list[float]:
    """How much of what waits each worker will have to do, in things.

    `lanes` are (the set of workers that fit, things that wait); see `crew.Crew` for sets. What no
    worker fits is left out.
    """
    by_set: dict[int, float] = {}
    for fitting, things in lanes:
        if fitting and things:
            by_set[fitting] = by_set.get(fitting, 0.0) + things
    if len(by_set) > SETS_APART_MAX:
        by_set = _coarsened(by_set)
    rates = [hand.rate for hand in hands]
    busy = [hand.busy * hand.speed * hand.busy_seconds for hand in hands]
    loads = [0.0] * len(hands)
    places = range(len(hands))
    poured: dict[int, list[tuple[int, float]]] = {}
    order = sorted(by_set, key=lambda fitting: (sum(members(fitting, rates)), fitting))
    for _ in range(POURING_ROUNDS):
        for fitting in order:
            for place, share in poured.get(fitting, ()):
                loads[place] -= share
            depths = sorted(
                (max(0.0, busy[place] + loads[place]) / rates[place], place)
                for place in members(fitting, places)
            )
            poured[fitting] = _filled(depths, rates, by_set[fitting])
            for place, share in poured[fitting]:
                loads[place] += share
    return [max(0.0, load) for load in loads]


def _filled(
    depths: Sequence[tuple[float, int]], rates: Sequence[float], things: float
) -> list[tuple[int, float]]:
    """(place, things) when the lowest are filled up to one level. `depths` are (seconds of work,
    place) in order."""
    level, rate, left = depths[0][0], 0.0, things
    filled = 0
    for depth, place in depths:
        step = (depth - level) * rate
        if step >= left:
            break
        left -= step
        level = depth
        rate += rates[place]
        filled += 1
    level += left / rate
    return [(place, (level - depth) * rates[place]) for depth, place in depths[:filled]]


def _coarsened(by_set: dict[int, float]) -> dict[int, float]:
    """The heaviest sets as they are, and one for all the others."""
    heavy = heapq.nlargest(SETS_APART_MAX, by_set.items(), key=lambda entry: (entry[1], entry[0]))
    kept = dict(heavy)
    together, things = 0, 0.0
    for fitting, load in by_set.items():
        if fitting not in kept:
            together |= fitting
            things += load
    kept[together] = kept.get(together, 0.0) + things
    return kept


def _quantile(by_speed: Sequence[tuple[float, float]], share: float) -> float:
    """The speed up to which at least that share of all work is done."""
    wanted = share * sum(rate for _, rate in by_speed)
    counted = 0.0
    for speed, rate in by_speed:
        counted += rate
        if counted >= wanted:
            return speed
    return by_speed[-1][0]
