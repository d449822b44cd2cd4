# SPDX-License-Identifier: AGPL-3.0-or-later
"""A shift: from the first pop to the end of the drain. Popping, running and delivering overlap."""

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import structlog

from openhorde.worker.agent import events
from openhorde.worker.agent.api import Away, HordeApi
from openhorde.worker.agent.assignment import Assignment, Unfit
from openhorde.worker.agent.backoff import wait_any
from openhorde.worker.agent.bell import Bell
from openhorde.worker.agent.crew import Crew
from openhorde.worker.agent.deliver import Delivery
from openhorde.worker.agent.demand import Demand
from openhorde.worker.agent.intake import Intake
from openhorde.worker.agent.kinds.base import Offer
from openhorde.worker.agent.kinds.table import KINDS, kinds_wanted, worker_name
from openhorde.worker.agent.narrowing import unoffered
from openhorde.worker.agent.pace import Pace
from openhorde.worker.agent.pop import Exhausted, Popper
from openhorde.worker.agent.refusals import first_word
from openhorde.worker.agent.run import Breaker, Misconfigured
from openhorde.worker.agent.sources import Sources
from openhorde.worker.agent.spool import Spool
from openhorde.worker.agent.stand_ins import StandIns
from openhorde.worker.agent.steps import StepReports
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.backends.base import Artifact, JobFault
from openhorde.worker.settings import MISCONFIGURED_STATUS, KindName, WorkerSettings

GIVE_UP_SECONDS_MAX = 3.0
LAST_WORDS_SECONDS_MAX = 10.0
NO_ENGINE = "no engine that does it is left"

log = structlog.get_logger(__name__)


class Shift:
    """Works until `stop` is set and what is in hand is done; once `abort` is set, gives it up."""

    def __init__(
        self,
        wishes: Wishes,
        api: HordeApi,
        observe: events.Observe,
        spool: Spool,
        stop: asyncio.Event,
        abort: asyncio.Event,
    ) -> None:
        self._wishes = wishes
        self._api = api
        self._observe = observe
        self._stop = stop
        self._abort = abort
        self._breaker = Breaker()
        self._bell = Bell()
        self._spool = spool
        self._delivery = Delivery(wishes, api, observe, spool)
        self._demand = Demand(wishes, api, self._bell)
        self._stand_ins = StandIns(wishes, api, self._bell)
        reports = StepReports(wishes, api)
        self._crew = Crew(wishes, reports, self._breaker, self._bell, observe, abort, self._made)
        self._kinds = kinds_wanted(wishes.now)
        self._paces = {kind: Pace() for kind in self._kinds}
        self._intakes: dict[KindName, asyncio.Task[None]] = {}
        self._gone = {kind: asyncio.Event() for kind in self._kinds}
        self._ended: set[KindName] = set()
        self._preparing: set[asyncio.Task[None]] = set()
        self._delivering: set[asyncio.Task[None]] = set()
        self._unprepared: Counter[KindName] = Counter()
        self._held: set[str] = set()
        self._over = asyncio.Event()
        self._ends = (stop, abort, self._over)
        self._status = 0

    def heed(self, settings: WorkerSettings) -> None:
        """Go by changed settings from now on."""
        self._wishes.now = settings
        self._bell.ring()

    async def work(self) -> int:
        """The whole shift. Returns the exit status: 0 after a drain, 1 when it could not go on,
        MISCONFIGURED_STATUS when it cannot until a setting is changed."""
        wrong = await self._first_word()
        if wrong is not None:
            self._break(wrong, MISCONFIGURED_STATUS)
            return self._status
        self._aside(self._delivering, self._delivery.left(await self._spool.load()))
        watcher = asyncio.create_task(self._watch())
        demand = asyncio.create_task(self._demand.watch())
        stand_ins = asyncio.create_task(self._stand_ins.watch())
        crew = asyncio.create_task(self._crew.work())
        try:
            await self._stand_ins.look()
            await self._take_in()
            if self._preparing:
                await asyncio.wait(set(self._preparing))
            self._crew.desk.close()
            await crew
            await self._last_words()
        finally:
            at_once = self._abort.is_set()
            # None is left after a drain; this is for a worker that is itself cancelled.
            beside = (*self._intakes.values(), *self._preparing, *self._delivering)
            for task in (watcher, demand, stand_ins, crew, *beside):
                task.cancel()
            await self._crew.close(at_once=at_once)
        return self._status

    async def _first_word(self) -> str | None:
        """What is wrong with the key, before engines are opened for nothing; None if nothing is
        known to be. A stop is not kept waiting for it."""
        asking = asyncio.create_task(first_word(self._api, self._wishes.now))
        asked = asyncio.Event()
        asking.add_done_callback(lambda _: asked.set())
        try:
            await wait_any(None, asked, self._stop, self._abort)
            return asking.result() if asking.done() else None
        except Away:
            return None
        finally:
            asking.cancel()

    async def _take_in(self) -> None:
        """Ask for each kind of work that some engine does, until told to stop or nothing is left.

        What ends one kind does not end the others.
        """
        while not any(end.is_set() for end in self._ends):
            ring = self._bell.next_ring
            for kind in self._kinds:
                if kind not in self._ended and kind not in self._intakes:
                    self._begin(kind)
            for kind, intake in list(self._intakes.items()):
                if intake.done():
                    self._end(kind, intake)
                elif not self._crew.engines(kind):
                    self._gone[kind].set()
            self._break_if_nothing_is_left()
            await wait_any(None, ring, *self._ends)
        if self._intakes:
            await asyncio.wait(self._intakes.values())
            for kind, intake in list(self._intakes.items()):
                self._end(kind, intake)

    def _begin(self, kind: KindName) -> None:
        """Ask for a kind of work from now on, if an engine does it."""
        names = KINDS[kind].offered(self._crew.capabilities(kind))
        if not names:
            return
        if not self._intakes and not self._ended:
            self._observe(events.Started(names))
        for told in unoffered(kind, self._wishes.now, self._crew.capabilities(kind)):
            log.warning(told)
        popper = Popper(
            kind, self._wishes, self._api, lambda: self._offer(kind), self._observe, self._holding
        )
        intake = Intake(
            popper,
            self._bell,
            lambda: self._places(kind),
            self._receive,
            (*self._ends, self._gone[kind]),
            self._abort,
        )
        task = asyncio.create_task(intake.work())
        task.add_done_callback(lambda _: self._bell.ring())
        self._intakes[kind] = task

    def _end(self, kind: KindName, intake: "asyncio.Task[None]") -> None:
        """What it means to the others that a kind of work is not asked for any more."""
        del self._intakes[kind]
        self._ended.add(kind)
        error = intake.exception()
        if error is None:
            if not self._gone[kind].is_set():
                return
            reason = NO_ENGINE
        elif isinstance(error, Misconfigured):
            self._break(str(error), MISCONFIGURED_STATUS)
            return
        elif isinstance(error, Exhausted):
            reason = str(error)
        else:
            log.error("a fault in the worker", kind=kind, exc_info=error)
            reason = f"a fault in the worker: {type(error).__name__}: {error}"
        log.error("no more work of this kind", kind=kind, reason=reason)
        self._observe(events.Ended(kind, reason))

    def _break_if_nothing_is_left(self) -> None:
        lost = self._crew.lost
        if lost is not None:
            self._break(lost)
        elif not self._intakes and self._ended:
            self._break("no kind of work is left")
        elif not self._intakes and not self._crew.opening:
            self._break("the engines found nothing to offer")

    def _break(self, reason: str, status: int = 1) -> None:
        """Stop for good, after what is in hand."""
        if not self._status:
            log.error("the worker stops", reason=reason)
            self._status = status
            self._over.set()
            self._observe(events.Trouble(reason))

    def _offer(self, kind: KindName) -> Offer:
        """What to ask for at this moment."""
        capabilities = self._crew.capabilities(kind)
        resting = self._breaker.resting(kind)
        stand_ins: tuple[str, ...] = ()
        if kind == "image":
            wanted = KINDS[kind].wanted(self._wishes.now, capabilities.models)
            awake = [name for name in wanted if name not in resting]
            resting |= self._demand.left_out(awake, capabilities)
            stand_ins = self._stand_ins.names([name for name in awake if name not in resting])
        return Offer(
            name=worker_name(self._wishes.now, kind),
            capabilities=capabilities,
            engines=self._crew.engines(kind),
            places=self._places(kind),
            resting=resting,
            stand_ins=stand_ins,
        )

    def _places(self, kind: KindName) -> int:
        """How many more jobs of a kind would be started soon enough.

        An idle engine is not counted on for one kind when a job of another kind waits for it.
        """
        if not self._crew.up(kind):
            return 0
        others = sum(
            self._unstarted(other)
            for other in self._kinds
            if other != kind and self._crew.shares(kind, other)
        )
        idle = max(0, self._crew.idle(kind) - others)
        ahead = self._wishes.now.queue_size
        if ahead:
            ahead = max(ahead, self._paces[kind].ahead(self._crew.engines(kind)))
        return idle + ahead - self._unstarted(kind)

    def _holding(self) -> frozenset[str]:
        """The jobs that were given to this worker and are not handed in, of all kinds."""
        return self._spool.job_ids.union(self._held)

    def _unstarted(self, kind: KindName) -> int:
        return self._unprepared[kind] + self._crew.desk.count(kind)

    def _receive(self, assignments: list[Assignment]) -> None:
        """Have what came in one pop prepared, while the engines are busy with others."""
        first = assignments[0]
        self._paces[first.kind].called(first.popped_at - first.asked_at)
        sources = Sources(self._api)
        for assignment in assignments:
            self._held.update(assignment.ids)
            if assignment.kind == "image":
                self._stand_ins.settle(assignment, self._crew.capabilities("image"))
            self._unprepared[assignment.kind] += 1
            self._aside(self._preparing, self._prepare(assignment, sources))

    async def _prepare(self, assignment: Assignment, sources: Sources) -> None:
        try:
            kind = KINDS[assignment.kind]
            assignment.job = await kind.prepare(sources, self._wishes.now, assignment)
        except Unfit as unfit:
            self._deliver(assignment, self._delivery.fault(assignment, str(unfit), unfit.notes))
        except Exception as error:
            log.exception("a job could not be prepared", job=assignment.ids[0])
            reason = f"a fault in the worker: {type(error).__name__}"
            self._deliver(assignment, self._delivery.fault(assignment, reason))
        finally:
            self._unprepared[assignment.kind] -= 1
        if assignment.job is not None:
            self._crew.put(assignment)

    def _made(self, assignment: Assignment, outcome: list[Artifact] | JobFault) -> None:
        """Deliver what an engine made, or why it did not, while it goes on to the next."""
        if assignment.run_seconds is not None:
            waited_seconds = time.monotonic() - assignment.run_seconds - assignment.popped_at
            self._paces[assignment.kind].ran(assignment.run_seconds, waited_seconds)
        if isinstance(outcome, JobFault):
            delivery = self._delivery.fault(assignment, str(outcome), outcome.notes)
        else:
            self._demand.used(assignment.model)
            delivery = self._delivery.results(assignment, outcome)
        self._deliver(assignment, delivery)

    def _deliver(self, assignment: Assignment, delivery: Coroutine[Any, Any, None]) -> None:
        """Hand in what came of a job; until that is done the worker holds it."""

        async def until_done() -> None:
            try:
                await delivery
            finally:
                self._held.difference_update(assignment.ids)

        self._aside(self._delivering, until_done())

    def _aside(self, tasks: set[asyncio.Task[None]], coroutine: Coroutine[Any, Any, None]) -> None:
        """Let something run beside the rest, held so that the end can wait for it."""
        task = asyncio.create_task(coroutine)
        tasks.add(task)

        def done(finished: asyncio.Task[None]) -> None:
            tasks.discard(finished)
            self._bell.ring()

        task.add_done_callback(done)

    async def _watch(self) -> None:
        """Tell of the drain; when it is not to be waited for, make the engines give up."""
        await wait_any(None, self._stop, self._abort)
        in_hand = sum(self._unstarted(kind) for kind in self._kinds)
        in_hand += self._crew.running + len(self._delivering)
        log.info("draining", in_hand=in_hand)
        self._observe(events.Draining(in_hand))
        await self._abort.wait()
        self._stop.set()
        self._bell.ring()
        self._observe(events.Draining(in_hand, at_once=True))
        await self._crew.cancel()
        await asyncio.sleep(GIVE_UP_SECONDS_MAX)
        await self._crew.close(at_once=True)

    async def _last_words(self) -> None:
        """Wait for the deliveries; not for long once nobody wants to wait."""
        aborted = asyncio.create_task(self._abort.wait())
        while self._delivering and not self._abort.is_set():
            await asyncio.wait({*self._delivering, aborted}, return_when=asyncio.FIRST_COMPLETED)
        aborted.cancel()
        if self._delivering:
            _, late = await asyncio.wait(set(self._delivering), timeout=LAST_WORDS_SECONDS_MAX)
            for task in late:
                task.cancel()
