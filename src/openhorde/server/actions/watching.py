# SPDX-License-Identifier: AGPL-3.0-or-later
"""Watching requests: who watches is told when something has happened.

All watchers of a request at this process share one `Watch`: its story is read once for all of them
when a signal says that it has gone on, and its place in the queue is worked out anew now and then
from what the process knows. One task sees to all watches. A watcher is an event and a few numbers:
it takes the newest story whenever it gets round to it, so that a slow one holds nothing up.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import uniform
from time import monotonic
from uuid import UUID

import structlog

from openhorde.server.actions.progress import Progress, measure
from openhorde.server.actions.queue import Queue
from openhorde.server.actions.workforce import Workforce
from openhorde.server.domain import marks
from openhorde.server.domain.lives import State
from openhorde.server.domain.marks import Mark
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import events
from openhorde.server.store.events import TakenJob
from openhorde.server.store.signals import Changed, Signals, Started, Stepped
from openhorde.server.store.statements import Statements

TICK_SECONDS = 1.0
PLACE_SECONDS = 2.0
"""The place in the queue is told at most this often."""

QUIET_SECONDS_MAX = 15.0
"""Who has heard nothing for this long is woken to say that the line stands."""

READ_SECONDS = 30.0
"""A story is read again after this without a signal, give or take a fifth: one may be lost."""

FRESH_SECONDS = 1.0
"""Who begins to watch a request that is watched already gets a story this old at most."""

READS_AT_ONCE = 4
"""After an interruption all stories are read again; the rest of the server needs connections."""

NOTICEABLE = 0.02
"""A place or a wait that differs by less than this share is the same."""

log = structlog.get_logger()


class TooManyWatchers(Exception):
    """No more lines can be held: for this address (`of_address`), or by this process."""

    def __init__(self, *, of_address: bool) -> None:
        super().__init__(of_address)
        self.of_address = of_address


@dataclass(frozen=True, slots=True)
class Story:
    """A request as its watchers know it."""

    progress: Progress
    taken: tuple[TakenJob, ...]
    mark: Mark
    read_at: float

    @property
    def ended(self) -> bool:
        """Will nothing more come?"""
        return self.progress.life.done


@dataclass(slots=True, eq=False)
class Watcher:
    """Somebody who watches. `over`: the caller has gone, or the server stops."""

    watch: "Watch"
    address: str
    news: asyncio.Event = field(default_factory=asyncio.Event)
    heard_at: float = field(default_factory=monotonic)
    over: bool = False

    @property
    def story(self) -> Story | None:
        """The newest story; None when the request is not there any more."""
        return self.watch.story

    async def wait(self) -> None:
        """Until there may be something new."""
        await self.news.wait()
        self.news.clear()
        self.heard_at = monotonic()

    def end(self) -> None:
        """Wake the watcher for the last time."""
        self.over = True
        self.news.set()


@dataclass(slots=True, eq=False)
class Watch:
    """A request that is watched at this process. `steps` holds by job what was heard last of its
    progress, `heard` counts what was heard."""

    request_id: UUID
    watchers: set[Watcher] = field(default_factory=set)
    story: Story | None = None
    stale: bool = True
    reading: asyncio.Task[None] | None = None
    read_due: float = 0.0
    heard: int = 0
    steps: dict[UUID, tuple[int, Stepped]] = field(default_factory=dict)

    def tell(self) -> None:
        """Wake all watchers."""
        for watcher in self.watchers:
            watcher.news.set()


class Watches:
    """The requests that are watched at one process, and by how many from where."""

    def __init__(
        self,
        statements: Statements,
        signals: Signals,
        queue: Queue,
        workforce: Workforce,
        *,
        watchers_max: int,
        watchers_per_address_max: int | None,
    ) -> None:
        self._statements = statements
        self._queue = queue
        self._workforce = workforce
        self._watchers_max = watchers_max
        self._watchers_per_address_max = watchers_per_address_max
        self._watches: dict[UUID, Watch] = {}
        self._by_address: Counter[str] = Counter()
        self._count = 0
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self._ticker: asyncio.Task[None] | None = None
        self._closed = False
        signals.listen(Changed, lambda signal: self._on_change(signal.request_id))
        signals.listen(Started, lambda signal: self._on_change(signal.request_id))
        signals.listen(Stepped, self._on_step)
        signals.on_gap(self._on_gap)

    def __len__(self) -> int:
        """How many watch."""
        return self._count

    def close(self) -> None:
        """End all watching: the server stops. Others can go on elsewhere."""
        self._closed = True
        for watch in self._watches.values():
            for watcher in watch.watchers:
                watcher.end()

    async def open(self, request_id: UUID, address: str) -> Watcher:
        """Watch a request until `leave`; its story is there from the start.

        Raises TooManyWatchers, and Refusal RequestNotFound.
        """
        self._admit(address)
        watch = self._watches.get(request_id)
        if watch is None:
            watch = self._watches[request_id] = Watch(request_id)
        watcher = Watcher(watch, address, over=self._closed)
        watch.watchers.add(watcher)
        try:
            if watch.story is None or monotonic() - watch.story.read_at > FRESH_SECONDS:
                watch.stale = True
                await asyncio.shield(self._read(watch))
            if watch.story is None:
                raise Refusal("RequestNotFound", id=str(request_id))
        except BaseException:
            self.leave(watcher)
            raise
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.create_task(self._tick())
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Watch no more."""
        watch = watcher.watch
        watch.watchers.discard(watcher)
        if not watch.watchers:
            self._watches.pop(watch.request_id, None)
        self._count -= 1
        self._by_address[watcher.address] -= 1
        if not self._by_address[watcher.address]:
            del self._by_address[watcher.address]

    def _admit(self, address: str) -> None:
        most = self._watchers_per_address_max
        if most is not None and self._by_address[address] >= most:
            raise TooManyWatchers(of_address=True)
        if self._count >= self._watchers_max:
            raise TooManyWatchers(of_address=False)
        self._by_address[address] += 1
        self._count += 1

    def _on_change(self, request_id: UUID) -> None:
        watch = self._watches.get(request_id)
        if watch is not None:
            watch.stale = True
            self._read(watch)

    def _on_step(self, signal: Stepped) -> None:
        watch = self._watches.get(signal.request_id)
        if watch is not None:
            watch.heard += 1
            watch.steps[signal.job_id] = watch.heard, signal
            watch.tell()

    def _on_gap(self) -> None:
        for watch in self._watches.values():
            watch.stale = True
            self._read(watch)

    def _read(self, watch: Watch) -> "asyncio.Task[None]":
        """See that the story is read; a reading that runs goes on until it is fresh."""
        if watch.reading is None or watch.reading.done():
            watch.reading = asyncio.create_task(self._read_until_fresh(watch))
            watch.reading.add_done_callback(lambda task: self._has_read(watch, task))
        return watch.reading

    async def _read_until_fresh(self, watch: Watch) -> None:
        while watch.stale and watch.watchers:
            async with self._turns:
                watch.stale = False
                began = monotonic()
                found = await events.watch(self._statements, watch.request_id)
            if found is None:
                watch.story = None
            else:
                progress = await measure(found.facts, self._queue, self._workforce)
                taken = ((job.ordinal, job.state == State.DONE) for job in found.taken)
                mark = marks.mark(found.facts.asked, taken, ended=progress.life.done)
                watch.story = Story(progress, found.taken, mark, began)
                open_jobs = {job.id for job in found.taken if job.state == "running"}
                for job_id in watch.steps.keys() - open_jobs:
                    del watch.steps[job_id]
            watch.read_due = monotonic() + uniform(0.8, 1.2) * READ_SECONDS
            watch.tell()

    def _has_read(self, watch: Watch, task: "asyncio.Task[None]") -> None:
        if watch.reading is task:
            watch.reading = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            # The database is away, perhaps: whoever has a story keeps it until there is a new one.
            log.warning("story_unread", reason=type(error).__name__)
            watch.read_due = monotonic() + TICK_SECONDS

    async def _tick(self) -> None:
        """Look after all watches until there are none."""
        place_due = monotonic() + PLACE_SECONDS
        while self._watches:
            await asyncio.sleep(TICK_SECONDS)
            now = monotonic()
            placing = now >= place_due
            if placing:
                place_due = now + PLACE_SECONDS
            for number, watch in enumerate(list(self._watches.values())):
                if number % 100 == 99:
                    await asyncio.sleep(0)
                if now >= watch.read_due and watch.reading is None:
                    watch.stale = True
                    self._read(watch)
                elif placing:
                    await self._place(watch)
                for watcher in watch.watchers:
                    if now - watcher.heard_at >= QUIET_SECONDS_MAX:
                        watcher.news.set()

    async def _place(self, watch: Watch) -> None:
        """Work out anew where a request stands in the queue."""
        story = watch.story
        if story is None or story.progress.facts.rank is None:
            return
        try:
            progress = await measure(story.progress.facts, self._queue, self._workforce)
        except Exception as error:
            log.warning("place_unknown", reason=type(error).__name__)
            return
        if watch.story is story and noticeable(story.progress, progress):
            watch.story = Story(progress, story.taken, story.mark, story.read_at)
            watch.tell()


def noticeable(before: Progress, after: Progress) -> bool:
    """Has the place in the queue, or the wait, changed so much that it is worth telling?"""
    pairs = (
        (before.queue_position, after.queue_position),
        (before.wait_seconds, after.wait_seconds),
    )
    return before.is_possible is not after.is_possible or any(
        abs(new - old) > NOTICEABLE * old for old, new in pairs
    )
