# SPDX-License-Identifier: AGPL-3.0-or-later
"""The queue as one process knows it: which lanes are live, how deep it is, where service stands.

Nothing here decides who gets a job: the database does. What this process and the others do to the
queue comes in as signals; a sweep through the database, a little at a time, corrects what was
missed; and a worker is told that there is nothing to do only after the database has been asked.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from openhorde.server.actions.depth import Depths, Snapshot
from openhorde.server.actions.lanes import FORGOTTEN_SECONDS, Fitting, Lanes
from openhorde.server.domain.needs import Needs
from openhorde.server.domain.virtual_time import VirtualTime
from openhorde.server.kit.single_flight import SingleFlight
from openhorde.server.store import lanes as stored
from openhorde.server.store import work
from openhorde.server.store.signals import Signals, Started, Waiting
from openhorde.server.store.statements import Statements

LANES_PER_CLAIM = 16
"""A claim looks at the heads of at most this many lanes; a head costs some 5 µs."""

LANES_PER_SCREENED_CLAIM = 64
"""The same for a worker that refuses some prompts, which may refuse whole lanes."""

PROBED_MAX = 512
"""A second look asks for the heads of the lanes an offer fits, if these are at most so many, else
for all live lanes."""

SWEPT_LANES = 64
"""So many lanes a sweep reads at once."""

SWEEP_SECONDS_MIN = 0.05
SWEEP_SHARE_MAX = 0.005
"""A sweep takes at most this share of all time: pops wait for it, and one in a hundred would show
in their 99th percentile."""

USERS_MAX = 20_000
"""Users whose last finish tags, or whose lanes, are remembered."""

LANES_OF_USER_SECONDS = 5.0

WORKER_SECONDS = 600.0
"""A worker that has nothing in hand and took nothing for so long does not count for how far service
has come."""

FINISH_TAG_SECONDS = 2.0
"""After this the database knows better: it forgets what was cancelled."""

log = structlog.get_logger()


class Queue:
    """One process's view of the queue; every server process on a database has its own."""

    def __init__(self, statements: Statements, signals: Signals) -> None:
        self._statements = statements
        self._lanes = Lanes()
        self._depths = Depths(statements)
        self._virtual_times: dict[str, VirtualTime] = {}
        self._took_at: dict[tuple[str, UUID], float] = {}
        self._finish_tags: OrderedDict[tuple[str, int], tuple[int, float]] = OrderedDict()
        self._submitting: dict[tuple[str, int], int] = {}
        self._turns: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()
        self._lanes_of_user: OrderedDict[int, tuple[float, set[int]]] = OrderedDict()
        self._newest = SingleFlight(self._read_newest)
        self._all = SingleFlight(self._read_all)
        self._learned: tuple[float, int] | None = None
        self._joined_at = 0.0
        self._seen_to = stored.NOTHING_SEEN
        self._swept_to = 0
        self._sweep_due = 0.0
        self._sweeping: asyncio.Task[None] | None = None
        signals.listen(Waiting, self._on_waiting)
        signals.listen(Started, self._on_started)
        signals.on_gap(self._start_over)

    async def start(self) -> None:
        """Read where the queue stands."""
        for kind, rank in (await work.median_started_ranks(self._statements)).items():
            self._virtual_times[kind] = VirtualTime(rank)
        await self._newest.fresh()
        await self._all.fresh()
        for lane in self._lanes.live():
            needs = self._lanes.needs(lane)
            if needs is not None and needs.kind not in self._virtual_times:
                first = self._lanes.least_rank(needs.kind)
                self._virtual_times[needs.kind] = VirtualTime(first or 0)

    def virtual_time(self, kind: str) -> int:
        """How far service has come, as a rank: nobody new joins the queue before it."""
        known = self._virtual_times.get(kind)
        return known.now if known else 0

    def finish_tag(self, kind: str, user_id: int) -> int:
        """Where the work ends that a user has asked of a kind within the last moments, or that is
        still on its way to the database; 0 if there was none."""
        key = kind, user_id
        finish_tag, kept_at = self._finish_tags.get(key, (0, 0.0))
        is_fresh = key in self._submitting or monotonic() - kept_at < FINISH_TAG_SECONDS
        return finish_tag if is_fresh else 0

    def keep_finish_tag(self, kind: str, user_id: int, finish_tag: int) -> None:
        """A user's work of a kind ends there or later."""
        key = kind, user_id
        if finish_tag > self.finish_tag(kind, user_id):
            self._finish_tags[key] = finish_tag, monotonic()
            self._finish_tags.move_to_end(key)
            if len(self._finish_tags) > USERS_MAX:
                self._finish_tags.popitem(last=False)

    @contextmanager
    def submitting(self, kind: str, user_id: int, jobs: int) -> Iterator[int]:
        """While jobs of a user are on their way to the database: how many others already are."""
        key = kind, user_id
        others = self._submitting.get(key, 0)
        self._submitting[key] = others + jobs
        try:
            yield others
        finally:
            left = self._submitting[key] - jobs
            if left:
                self._submitting[key] = left
            else:
                del self._submitting[key]

    @asynccontextmanager
    async def following(self, kind: str, user_id: int) -> AsyncIterator[bool]:
        """While a user's request is given its place: is it known here where the user's work ends?

        Where it is not, only the database knows, and others of the same user wait for the answer.
        """
        if self.finish_tag(kind, user_id):
            yield True
            return
        async with self.turn(kind, user_id):
            yield bool(self.finish_tag(kind, user_id))

    def turn(self, kind: str, user_id: int) -> asyncio.Lock:
        """Whose turn it is among those submissions of a user that must not overtake each other."""
        key = kind, user_id
        lock = self._turns.get(key)
        if lock is None:
            lock = self._turns[key] = asyncio.Lock()
        return lock

    async def lane(self, needs: Needs) -> int:
        """The number of the lane for these needs."""
        number = self._lanes.number(needs.signature())
        if number is None:
            number = await stored.open_lane(self._statements, needs)
            self._lanes.numbered(needs, number)
        return number

    def needs(self, lane: int) -> Needs | None:
        """What the jobs of a lane need."""
        return self._lanes.needs(lane)

    def lanes_naming(self, kind: str, models: Sequence[str]) -> list[int]:
        """Live lanes of a kind whose requests name one of the models."""
        wanted = set(models)
        return [
            lane
            for lane in self._lanes.live()
            if (needs := self._lanes.needs(lane))
            and needs.kind == kind
            and wanted.intersection(needs.models)
        ]

    def fitting(
        self,
        fitting: Fitting,
        *,
        screened: bool = False,
        without: AbstractSet[int] = frozenset(),
    ) -> list[int]:
        """The live lanes that the offer fits, best heads first, as many as a claim looks at;
        `without` those that have been looked at in vain."""
        self._sweep()
        count = LANES_PER_SCREENED_CLAIM if screened else LANES_PER_CLAIM
        return self._lanes.best(fitting, count, without)

    def fits(self, lane: int, fitting: Fitting) -> bool:
        """Does the offer fit this lane, live or not? One that is not known here fits nobody."""
        return lane in self._lanes.fitting(fitting)

    async def look(self, fitting: Fitting) -> None:
        """Ask the database in which of the lanes that the offer fits jobs wait."""
        await self._newest.fresh()
        lanes = self._lanes.fitting(fitting)
        if len(lanes) > PROBED_MAX or self._lanes.has_gaps:
            await self._all.fresh()
        elif lanes:
            began = monotonic()
            asked = list(lanes)
            heads = await stored.heads_of_lanes(self._statements, asked)
            self._lanes.looked(asked, heads, began)

    def looked(self, lanes: Iterable[int], heads: dict[int, int], began: float) -> None:
        """What a claim saw of the lanes it looked at."""
        self._lanes.looked(lanes, heads, began)

    async def fitting_of_users(
        self, fitting: Fitting, user_ids: Sequence[int], *, fresh: bool = False
    ) -> list[int]:
        """The lanes that the offer fits in which jobs of these users wait, some seconds old unless
        they are to be `fresh`."""
        now = monotonic()
        known = self._lanes_of_user
        stale = [
            user_id
            for user_id in user_ids
            if fresh or now - known.get(user_id, (0.0,))[0] > LANES_OF_USER_SECONDS
        ]
        if stale:
            found = await stored.lanes_of_users(self._statements, stale)
            await self.learn({lane for lanes in found.values() for lane in lanes})
            for user_id in stale:
                known[user_id] = now, found.get(user_id, set())
                known.move_to_end(user_id)
            while len(known) > USERS_MAX:
                known.popitem(last=False)
        lanes: set[int] = set()
        for user_id in user_ids:
            lanes |= known.get(user_id, (0.0, lanes))[1]
        return sorted(lanes & self._lanes.fitting(fitting)) if lanes else []

    async def snapshot(self, *, with_latest: bool = False) -> Snapshot:
        """The depth of the queue, some moments old; what its lanes need is known. In a small queue
        `with_latest` has all jobs that are known to have joined."""
        snapshot = await self._depths.snapshot(after=self._joined_at if with_latest else 0.0)
        learned = snapshot.taken_at, self._lanes.era
        if self._learned != learned:
            await self.learn(snapshot.lanes)
            self._learned = learned
        return snapshot

    async def learn(self, lanes: Iterable[int]) -> None:
        """Find out what lanes need that are not known here."""
        unknown = [lane for lane in lanes if lane not in self._lanes]
        if unknown:
            self._lanes.learn(await stored.lanes_by_id(self._statements, unknown))

    def _on_waiting(self, signal: Waiting) -> None:
        self.keep_finish_tag(signal.kind, signal.user_id, signal.finish_tag)
        known = self._lanes_of_user.get(signal.user_id)
        if known is not None:
            known[1].add(signal.lane)
        self._lanes.joined(signal.lane, signal.rank)
        self._joined_at = monotonic()

    def _started(self, kind: str, worker_id: UUID, rank: int) -> None:
        self._virtual_times.setdefault(kind, VirtualTime()).started(worker_id, rank)
        self._took_at[kind, worker_id] = monotonic()

    def _on_started(self, signal: Started) -> None:
        self._started(signal.kind, signal.worker_id, signal.rank)

    async def _read_newest(self) -> None:
        seen_to, lanes = await stored.lanes_asked(
            self._statements, self._seen_to, FORGOTTEN_SECONDS
        )
        self._lanes.learn(lanes)
        self._seen_to = seen_to
        await self.learn(self._lanes.unheard())

    async def _read_all(self) -> None:
        after = 0
        while (after := await self._read_live(after)) != 0:
            pass
        await self._read_running()

    async def _read_live(self, after: int) -> int:
        """Read the next live lanes; the last one's number, 0 at the end."""
        began = monotonic()
        heads = await stored.live_lanes(self._statements, after, SWEPT_LANES)
        last = max(heads) if len(heads) == SWEPT_LANES else None
        await self.learn(heads)
        self._lanes.looked({*self._lanes.live(after, last), *heads}, heads, began)
        return last or 0

    async def _read_running(self) -> None:
        for running in await work.running_ranks(self._statements):
            self._started(running.kind, running.worker_id, running.rank)
        now = monotonic()
        for kind, worker_id in [
            key for key, took_at in self._took_at.items() if now - took_at > WORKER_SECONDS
        ]:
            del self._took_at[kind, worker_id]
            self._virtual_times[kind].gone(worker_id)

    def _sweep(self) -> None:
        """Go on with the sweep, if it is time."""
        if self._sweeping is None and monotonic() >= self._sweep_due:
            self._sweeping = asyncio.create_task(self._sweep_on())
            self._sweeping.add_done_callback(self._swept)

    def _start_over(self) -> None:
        """Signals were missed: sweep from the start, now."""
        self._swept_to, self._sweep_due = 0, 0.0
        self._sweep()

    async def _sweep_on(self) -> None:
        began = monotonic()
        self._swept_to = await self._read_live(self._swept_to)
        if not self._swept_to:
            await self._read_newest()
            await self._read_running()
        seconds = monotonic() - began
        pause_seconds = max(SWEEP_SECONDS_MIN, seconds / SWEEP_SHARE_MAX)
        self._sweep_due = monotonic() + (
            pause_seconds if self._swept_to else max(1.0, pause_seconds)
        )

    def _swept(self, task: "asyncio.Task[None]") -> None:
        self._sweeping = None
        if not task.cancelled() and task.exception() is not None:
            self._sweep_due = monotonic() + 1.0
            log.warning("the queue could not be read", reason=str(task.exception()))
