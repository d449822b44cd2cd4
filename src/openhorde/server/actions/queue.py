# SPDX-License-Identifier: AGPL-3.0-or-later
"""The queue as one process knows it: which lanes are live, who offers what, how deep it is.

Nothing here decides who gets a job: the database does. A lane that the process believes to be
empty is looked up again before a worker is told that there is nothing to do.
"""

import asyncio
import heapq
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from time import monotonic
from typing import Generic, TypeVar

from openhorde.server.domain.matching import fits
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.store import work
from openhorde.server.store.statements import Statements
from openhorde.server.store.work import LaneLoad, RankSlice

LANES_PER_CLAIM = 64
"""A claim looks at the heads of at most this many lanes; a head costs some 5 µs."""

LANES_PER_FRESH_CLAIM = 512
"""The same for a second look, which must not miss a lane lightly."""

REMEMBERED_LANES_MIN = 256
"""A worker's answers for lanes that are no longer live are forgotten beyond this."""

HEADS_SECONDS_MAX = 1.0
"""Other servers fill lanes too: which are live is about this old at most (more when reading them
is slow)."""

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


@dataclass(slots=True)
class Fitting:
    """An offer, and which lanes it has been found to fit. Lanes never change: it stays true."""

    offer: Offer
    lanes: dict[int, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The depth of the queue at one moment: by lane, and by rank for each kind."""

    taken_at: float
    lanes: dict[int, LaneLoad]
    kinds: dict[str, "Depth"]

    def depth(self, kind: str) -> "Depth":
        """The depth of one kind's queue; empty when nothing of it waits."""
        return self.kinds.get(kind) or Depth(())

    def jobs(self) -> int:
        """Jobs that wait, of all kinds."""
        return sum(load.jobs for load in self.lanes.values())


class Depth:
    """How much waits before a given rank. Slices of the queue are counted exactly; within a slice
    (of which there are 256) the position is taken to be its end."""

    def __init__(self, slices: Iterable[RankSlice]) -> None:
        ordered = tuple(slices)
        self._ranks = [piece.rank for piece in ordered]
        self._requests = list(accumulate(piece.requests for piece in ordered))
        self._jobs = list(accumulate(piece.jobs for piece in ordered))
        self._things = list(accumulate(piece.things for piece in ordered))

    def up_to(self, rank: int) -> tuple[int, int, int]:
        """(requests, jobs, things) in the queue up to and including the one with this rank."""
        if not self._ranks:
            return 0, 0, 0
        place = min(bisect_left(self._ranks, rank), len(self._ranks) - 1)
        return self._requests[place], self._jobs[place], self._things[place]


class Queue:
    """One process's view of the queue; every server process on a database has its own."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._needs: dict[int, Needs] = {}
        self._by_signature: dict[str, int] = {}
        self._live: dict[int, int] = {}
        self._heads_read_at = 0.0
        self._heads_seconds = 0.0
        self._virtual_time: dict[str, int] = {}
        self._heads = SingleFlight(self._read_heads)
        self._depth = SingleFlight(self._read_depth)
        self._snapshot: Snapshot | None = None
        self._snapshot_seconds = 0.0
        self._refresh: asyncio.Task[Snapshot] | None = None

    async def start(self) -> None:
        """Read where the queue stands."""
        self._virtual_time = await work.highest_started_ranks(self._statements)
        await self._heads.fresh()
        for lane, rank in self._live.items():
            kind = self._needs[lane].kind
            self._virtual_time.setdefault(kind, rank)

    def virtual_time(self, kind: str) -> int:
        """The rank that service has reached: nobody new joins the queue before it."""
        return self._virtual_time.get(kind, 0)

    def started(self, kind: str, rank: int) -> None:
        """A job of this rank was given to a worker."""
        if rank > self._virtual_time.get(kind, 0):
            self._virtual_time[kind] = rank

    def joined(self, lane: int, rank: int) -> None:
        """A job joined a lane. One that is not known here is found at the next reading."""
        if lane in self._needs and rank < self._live.get(lane, rank + 1):
            self._live[lane] = rank

    async def lane(self, needs: Needs) -> int:
        """The number of the lane for these needs."""
        signature = needs.signature()
        number = self._by_signature.get(signature)
        if number is None:
            number = await work.open_lane(self._statements, needs)
            self._by_signature[signature] = number
            self._needs[number] = needs
        return number

    def needs(self, lane: int) -> Needs | None:
        """What the jobs of a lane need."""
        return self._needs.get(lane)

    def lanes_naming(self, models: Sequence[str]) -> list[int]:
        """Live lanes whose requests name one of the models."""
        wanted = set(models)
        return [lane for lane in self._live if wanted.intersection(self._needs[lane].models)]

    async def fitting(self, fitting: Fitting, *, fresh: bool) -> list[int]:
        """Live lanes that the offer fits, so many at most that a claim can look at them all, then
        the best heads.

        `fresh` reads the database first; otherwise what the process knows has to do.
        """
        age_seconds = monotonic() - self._heads_read_at
        if fresh or age_seconds > max(HEADS_SECONDS_MAX, 50 * self._heads_seconds):
            await self._heads.fresh()
        known, offer = fitting.lanes, fitting.offer
        if len(known) > 2 * len(self._live) + REMEMBERED_LANES_MIN:
            for lane in known.keys() - self._live.keys():
                del known[lane]
        found = []
        for lane in self._live:
            answer = known.get(lane)
            if answer is None:
                answer = known[lane] = fits(self._needs[lane], offer)
            if answer:
                found.append(lane)
        lanes_max = LANES_PER_FRESH_CLAIM if fresh else LANES_PER_CLAIM
        if len(found) > lanes_max:
            return heapq.nsmallest(lanes_max, found, key=self._live.__getitem__)
        return found

    async def _read_heads(self) -> None:
        began = monotonic()
        live = await work.live_lanes(self._statements)
        unknown = [lane for lane in live if lane not in self._needs]
        if unknown:
            for lane, needs in (await work.lanes_by_id(self._statements, unknown)).items():
                self._needs[lane] = needs
                self._by_signature[needs.signature()] = lane
        # Other servers serve too.
        for kind, rank in (await work.running_ranks(self._statements)).items():
            self.started(kind, rank)
        self._live = live
        self._heads_read_at = monotonic()
        self._heads_seconds = self._heads_read_at - began

    async def snapshot(self) -> Snapshot:
        """The depth of the queue, some moments old.

        Reading costs time in proportion to the queue, so it is done at most half a percent of the
        time; and nobody waits for it, unless the process has been idle and knows only old numbers.
        """
        snapshot = self._snapshot
        if snapshot is None:
            return await self._depth.fresh()
        age_seconds = monotonic() - snapshot.taken_at
        fresh_seconds = max(0.05, 200 * self._snapshot_seconds)
        if age_seconds > 5 * fresh_seconds:
            return await self._depth.fresh()
        if age_seconds > fresh_seconds and self._refresh is None:
            self._refresh = asyncio.create_task(self._depth.fresh())
            self._refresh.add_done_callback(self._refreshed)
        return snapshot

    def _refreshed(self, task: "asyncio.Task[Snapshot]") -> None:
        self._refresh = None
        if not task.cancelled():
            task.exception()  # Whoever needs the numbers next meets the error itself.

    async def _read_depth(self) -> Snapshot:
        began = monotonic()
        lanes, pieces = await work.queue_depth(self._statements)
        unknown = [lane for lane in lanes if lane not in self._needs]
        if unknown:
            self._needs.update(await work.lanes_by_id(self._statements, unknown))
        slices: dict[str, list[RankSlice]] = {}
        for piece in pieces:
            slices.setdefault(piece.kind, []).append(piece)
        kinds = {kind: Depth(ordered) for kind, ordered in slices.items()}
        snapshot = Snapshot(began, lanes, kinds)
        self._snapshot_seconds = monotonic() - began
        self._snapshot = snapshot
        return snapshot
