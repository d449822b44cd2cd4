# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers that hold the line until there is a job for them.

A job that joins the queue calls as many workers as it has jobs, of those that wait here and fit,
first come first served. Who is called pops like anybody else, and waits on if others were faster.
Nothing is held for a worker meanwhile: no connection to the database, no job.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import uniform
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from openhorde.server.actions import work
from openhorde.server.actions.check_ins import Entry
from openhorde.server.actions.queue import Queue
from openhorde.server.actions.work import Popped
from openhorde.server.domain import policy
from openhorde.server.store.signals import Edited, Signals, Waiting

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.users import Account

LOOK_SECONDS = 5.0
"""So often each worker that waits is held against the queue without having been called, give or
take a fifth."""

TICK_SECONDS = 0.5
WAITERS_MAX = 20_000
"""Beyond this nobody is held: a pop is answered at once."""

CALLS_KEPT = 1_000

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Call:
    """Jobs of a lane, the first at `rank`, for which `jobs` workers have still to be found. The
    `number` grows with every search."""

    kind: str
    lane: int
    rank: int
    user_id: int
    jobs: int
    number: int = 0


class Waiter:
    """A worker on the line, with the entry of its last pop."""

    __slots__ = (
        "call",
        "called",
        "entry",
        "favoured_users",
        "gone",
        "look_at",
        "looking",
        "looking_for",
        "over",
    )

    def __init__(self, entry: Entry, favoured_users: Sequence[int]) -> None:
        self.entry = entry
        self.favoured_users = favoured_users
        self.called = asyncio.Event()
        self.call: _Call | None = None
        self.looking = False
        self.looking_for: _Call | None = None
        self.over = False
        self.gone = False
        self.look_at = _next_look()

    def wake(self, call: _Call | None = None) -> None:
        """Have the worker look for a job; `call` is what for, if anything is known."""
        self.call = call or self.call
        self.called.set()

    def end(self, *, gone: bool = False) -> None:
        """The wait is over, whether or not there is a job."""
        self.over = True
        self.gone = self.gone or gone
        self.called.set()

    async def turn(self) -> bool:
        """Wait until it is time to look; False when the wait is over."""
        await self.called.wait()
        if self.over:
            return False
        self.called.clear()
        self.looking = True
        self.looking_for, self.call = self.call, None
        self.look_at = _next_look()
        return True

    def looked(self, ranks: Sequence[int]) -> None:
        """It took jobs of these ranks, or found none. What it was called for is gone then, unless
        it took a better one."""
        self.looking = False
        if self.looking_for and (not ranks or min(ranks) >= self.looking_for.rank):
            self.looking_for = None

    def left_undone(self) -> list[_Call]:
        """What it was called for and did not see to."""
        return [call for call in (self.looking_for, self.call) if call]


class Waiters:
    """The workers that wait at one process, in the order in which they came."""

    def __init__(self, queue: Queue, signals: Signals) -> None:
        self._queue = queue
        self._signals = signals
        self._waiters: dict[Waiter, None] = {}
        self._unanswered: deque[_Call] = deque(maxlen=CALLS_KEPT)
        self._calls = 0
        self._closed = False
        self._learning: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        signals.call_workers(self._on_waiting)
        signals.listen(Edited, self._on_edited)
        signals.on_gap(self._on_gap)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def open(self) -> bool:
        """May one more worker wait here?"""
        return not self._closed and len(self._waiters) < WAITERS_MAX

    def close(self) -> None:
        """Answer all who wait, and let nobody wait any more: the server stops."""
        self._closed = True
        for waiter in self._waiters:
            waiter.end()

    def mark(self) -> int:
        """A moment: what joins the queue later is not missed by who says it to `join`."""
        return self._calls

    @contextmanager
    def join(self, waiter: Waiter, since: int) -> Iterator[None]:
        """Stand in the line, having looked at the queue at the moment `since`."""
        self._waiters[waiter] = None
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.create_task(self._tick())
        self._answer_missed(waiter, since)
        try:
            yield
        finally:
            del self._waiters[waiter]
            for call in waiter.left_undone():
                self._pass_on(replace(call, jobs=1))

    def _pass_on(self, call: _Call) -> None:
        """Find another worker for what one was called for. When none is free here, the others are
        told: they were not called, as somebody here had been."""
        if not self._find(call):
            self._signals.tell_others(
                Waiting(call.kind, call.lane, call.rank, call.jobs, call.user_id, 0)
            )

    def _answer_missed(self, waiter: Waiter, since: int) -> None:
        for call in reversed(self._unanswered):
            if call.number <= since:
                return
            if self._queue.needs(call.lane) is None or self._fits(call, waiter):
                self._answer(call, waiter)
                return
        if self._calls - since > CALLS_KEPT:
            waiter.wake()

    def _on_waiting(self, signal: Waiting) -> int:
        """Call workers for jobs that joined; how many."""
        jobs = signal.jobs - signal.spoken_for
        if jobs <= 0:
            return 0
        call = _Call(signal.kind, signal.lane, signal.rank, signal.user_id, jobs)
        if self._waiters and self._queue.needs(signal.lane) is None:
            task = asyncio.create_task(self._learn_and_find(call))
            self._learning.add(task)
            task.add_done_callback(self._learning.discard)
            return 0
        return self._find(call)

    async def _learn_and_find(self, call: _Call) -> None:
        """A lane that another process has made: only the database knows what it needs."""
        try:
            await self._queue.learn([call.lane])
        except Exception as error:
            log.warning("lane_unknown", lane=call.lane, reason=str(error))
        self._find(call)

    def _find(self, call: _Call) -> int:
        """Call as many who fit as there are jobs; how many that were."""
        self._calls += 1
        call.number = self._calls
        asked = call.jobs
        # Who is just looking may take another job: it is called only when all others have been.
        for looking in (False, True):
            for waiter in self._waiters:
                if call.jobs <= 0:
                    return asked
                free = not waiter.called.is_set() and waiter.looking is looking
                if free and self._fits(call, waiter):
                    self._answer(call, waiter)
        self._unanswered.append(call)
        return asked - call.jobs

    def _answer(self, call: _Call, waiter: Waiter) -> None:
        waiter.wake(call)
        call.jobs -= 1
        if call.jobs <= 0 and call in self._unanswered:
            self._unanswered.remove(call)

    def _fits(self, call: _Call, waiter: Waiter) -> bool:
        entry = waiter.entry
        if self._queue.fits(call.lane, entry.fitting):
            return True
        return call.user_id in waiter.favoured_users and self._queue.fits(
            call.lane, entry.fitting_favoured
        )

    def _on_edited(self, signal: Edited) -> None:
        """Its owner put a worker to rest, or deleted it: it is told so."""
        if signal.noun == "worker":
            for waiter in self._waiters:
                if waiter.entry.record.name == signal.key:
                    waiter.wake()

    def _on_gap(self) -> None:
        now = monotonic()
        for waiter in self._waiters:
            waiter.look_at = now

    async def _tick(self) -> None:
        """Have each worker look now and then: a signal may have been lost."""
        while self._waiters:
            await asyncio.sleep(TICK_SECONDS)
            now = monotonic()
            for waiter in self._waiters:
                if waiter.look_at <= now and not waiter.called.is_set():
                    waiter.look_at = _next_look()
                    # What this process knows of the queue is swept all the time: no look in vain.
                    if self._queue.fitting(waiter.entry.fitting):
                        waiter.wake()


def _next_look() -> float:
    return monotonic() + uniform(0.8, 1.2) * LOOK_SECONDS


async def pop(
    horde: "Horde",
    owner: "Account",
    said: Any,
    address: str,
    hung_up: Callable[[], Awaitable[None]],
    has_left: Callable[[], bool] = lambda: False,
) -> Popped:
    """Pop a job; if there is none, wait for one as long as the worker says.

    `hung_up` returns when the worker has, and `has_left` says whether it has; from then on nothing
    is claimed for it. Raises Refusal like `work.pop`, be it after a while.
    """
    arrived, holding, wait_seconds = monotonic(), said.holding, said.wait
    if not wait_seconds:
        return await work.pop(horde, owner, said, address)
    # A worker that waits shorter or longer offers the same.
    said = msgspec.structs.replace(said, wait=0)
    since = horde.waiters.mark()
    popped = await work.pop(horde, owner, said, address)
    entry = horde.check_ins.find(owner.id, policy.worker_name(said.name))
    if popped.jobs or entry is None or not horde.waiters.open():
        return popped
    if holding is not None and entry.recovered_at < arrived:
        await work.recover(horde, entry, holding, arrived)
    # What the worker holds later on is not known from this.
    said = msgspec.structs.replace(said, holding=None)
    waiter = Waiter(entry, [owner.id, *policy.priority_user_ids(said.priority_usernames)])
    ending = asyncio.get_running_loop().call_later(wait_seconds, waiter.end)
    listening = asyncio.ensure_future(hung_up())
    listening.add_done_callback(lambda _: waiter.end(gone=True))
    try:
        with horde.waiters.join(waiter, since):
            while await waiter.turn() and not has_left():
                popped = await work.pop(horde, owner, said, address)
                waiter.looked([job.rank for job in popped.jobs])
                if popped.jobs:
                    break
    finally:
        ending.cancel()
        listening.cancel()
    if popped.jobs and waiter.gone:
        await work.take_back(horde, popped.jobs)
        return Popped((), {})
    return popped
