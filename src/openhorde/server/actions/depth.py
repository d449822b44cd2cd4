# SPDX-License-Identifier: AGPL-3.0-or-later
"""How deep the queue is, as one process knows it: by lane, and by rank for each kind."""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from time import monotonic

from openhorde.server.kit.single_flight import SingleFlight
from openhorde.server.store import work
from openhorde.server.store.statements import Statements
from openhorde.server.store.work import LaneLoad, RankSlice

FRESH_SECONDS_MIN = 0.05
FRESH_SECONDS_MAX = 10.0
READING_SHARE_MAX = 0.005
"""Reading takes time in proportion to the queue, and at most this share of all time, unless that
would make the numbers older than FRESH_SECONDS_MAX."""

PROMPT_SHARE_MAX = 0.2
PROMPT_SECONDS_MAX = 0.1
"""A caller who has to see the latest waits for a reading, as long as these take at most this share
of the time and nobody waits longer for the next one."""

AGE_SECONDS_MAX = 20.0
"""Nobody is told older numbers than this: who asks waits for a reading."""

LATEST_WEIGHT = 0.3
"""How much the last reading says of what a reading takes: one that was held up says little."""


def fresh_seconds(read_seconds: float) -> float:
    """How long numbers are fresh whose reading takes so long."""
    return min(max(FRESH_SECONDS_MIN, read_seconds / READING_SHARE_MAX), FRESH_SECONDS_MAX)


class Depth:
    """How much waits before a given rank. Slices of the queue are counted exactly; within a slice
    (of which there are 256) the position is taken to be its end."""

    def __init__(self, slices: Iterable[RankSlice]) -> None:
        ordered = tuple(slices)
        self._ranks = [piece.rank for piece in ordered]
        self._requests = list(accumulate(piece.requests for piece in ordered))
        self._jobs = list(accumulate(piece.jobs for piece in ordered))
        self._things = list(accumulate(piece.things for piece in ordered))
        self.jobs = self._jobs[-1] if self._jobs else 0

    def up_to(self, rank: int) -> tuple[int, int, int]:
        """(requests, jobs, things) in the queue up to and including the one with this rank."""
        if not self._ranks:
            return 0, 0, 0
        place = min(bisect_left(self._ranks, rank), len(self._ranks) - 1)
        return self._requests[place], self._jobs[place], self._things[place]


@dataclass(frozen=True, slots=True)
class Share:
    """Parts of a queue, from 0 to 1."""

    requests: float
    jobs: float
    things: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The depth of the queue at one moment: by lane, and by rank for each kind."""

    taken_at: float
    lanes: dict[int, LaneLoad]
    kinds: dict[str, Depth]

    def depth(self, kind: str) -> Depth:
        """The depth of one kind's queue; empty when nothing of it waits."""
        return self.kinds.get(kind) or Depth(())

    def possible(self, kind: str, is_served: Callable[[int], bool]) -> Share:
        """What part of a kind's queue waits in lanes that somebody serves."""
        every, served = [0, 0, 0], [0, 0, 0]
        for lane, load in self.lanes.items():
            if load.kind == kind:
                for counts in (every, served) if is_served(lane) else (every,):
                    counts[0] += load.requests
                    counts[1] += load.jobs
                    counts[2] += load.things
        parts = (some / all_ if all_ else 1.0 for some, all_ in zip(served, every, strict=True))
        return Share(*parts)

    def jobs(self) -> int:
        """Jobs that wait, of all kinds."""
        return sum(depth.jobs for depth in self.kinds.values())


class Depths:
    """Keeps a snapshot of the queue's depth that is some moments old."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._reading = SingleFlight(self._read)
        self._snapshot: Snapshot | None = None
        self._read_seconds: float | None = None
        self._refresh: asyncio.Task[Snapshot] | None = None

    async def snapshot(self, *, after: float = 0.0) -> Snapshot:
        """The depth of the queue. Nobody waits for a reading, unless the process has been idle and
        knows only old numbers, or who asks wants to see what happened until `after` (monotonic) and
        a reading costs little."""
        snapshot = self._snapshot
        if snapshot is None:
            return await self._reading.fresh()
        pause_seconds = (self._read_seconds or 0.0) / PROMPT_SHARE_MAX
        if snapshot.taken_at <= after and pause_seconds < PROMPT_SECONDS_MAX:
            await asyncio.sleep(max(0.0, snapshot.taken_at + pause_seconds - monotonic()))
            return await self._reading.fresh()
        age_seconds = monotonic() - snapshot.taken_at
        fresh_for = fresh_seconds(self._read_seconds or 0.0)
        if age_seconds > min(5 * fresh_for, AGE_SECONDS_MAX):
            return await self._reading.fresh()
        if age_seconds > fresh_for and self._refresh is None:
            self._refresh = asyncio.create_task(self._reading.fresh())
            self._refresh.add_done_callback(self._refreshed)
        return snapshot

    def _refreshed(self, task: "asyncio.Task[Snapshot]") -> None:
        self._refresh = None
        if not task.cancelled():
            task.exception()  # Whoever needs the numbers next meets the error itself.

    async def _read(self) -> Snapshot:
        began = monotonic()
        lanes, pieces = await work.queue_depth(self._statements)
        slices: dict[str, list[RankSlice]] = {}
        for piece in pieces:
            slices.setdefault(piece.kind, []).append(piece)
        kinds = {kind: Depth(ordered) for kind, ordered in slices.items()}
        latest_seconds = monotonic() - began
        if self._read_seconds is None:
            self._read_seconds = latest_seconds
        self._read_seconds += LATEST_WEIGHT * (latest_seconds - self._read_seconds)
        self._snapshot = Snapshot(began, lanes, kinds)
        return self._snapshot
