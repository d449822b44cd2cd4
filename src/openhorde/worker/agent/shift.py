# SPDX-License-Identifier: AGPL-3.0-or-later
"""A shift: from the first pop to the end of the drain. Popping, running and delivering overlap."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from openhorde.worker.agent import events, image
from openhorde.worker.agent.api import HordeApi
from openhorde.worker.agent.assignment import Assignment, Unfit
from openhorde.worker.agent.backoff import wait_any
from openhorde.worker.agent.deliver import Delivery
from openhorde.worker.agent.pop import Popper
from openhorde.worker.agent.run import Breaker, Broken, Runner
from openhorde.worker.agent.steps import StepReports
from openhorde.worker.backends.base import Capabilities, JobFault
from openhorde.worker.settings import WorkerSettings

GIVE_UP_SECONDS_MAX = 3.0
LAST_WORDS_SECONDS_MAX = 10.0
STOPPED = "the worker was stopped"

log = structlog.get_logger(__name__)


class Shift:
    """Works until `stop` is set and what is in hand is done; once `abort` is set, gives it up."""

    def __init__(
        self,
        settings: WorkerSettings,
        api: HordeApi,
        observe: events.Observe,
        stop: asyncio.Event,
        abort: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._api = api
        self._observe = observe
        self._stop = stop
        self._abort = abort
        self._breaker = Breaker()
        self._delivery = Delivery(settings, api, observe)
        reports = StepReports(settings, api)
        self._runners = [
            Runner(settings, self._breaker, reports, observe, abort)
            for _ in range(settings.max_threads)
        ]
        self._ready: asyncio.Queue[Assignment | None] = asyncio.Queue()
        self._lanes: list[asyncio.Task[None]] = []
        self._preparing: set[asyncio.Task[None]] = set()
        self._delivering: set[asyncio.Task[None]] = set()
        self._idle = 0
        self._running = 0
        self._changed = asyncio.Event()
        self._over = asyncio.Event()
        self._ends = (stop, abort, self._over)
        self._broken: str | None = None

    async def work(self) -> int:
        """The whole shift. Returns the exit status: 0 after a drain, 1 when it could not go on."""
        watcher = asyncio.create_task(self._watch())
        try:
            capabilities = await self._open_first()
            if capabilities is not None:
                await self._pop_run_deliver(capabilities)
        finally:
            at_once = self._abort.is_set()
            # None is left after a drain; this is for a worker that is itself cancelled.
            for task in (watcher, *self._lanes, *self._preparing, *self._delivering):
                task.cancel()
            await asyncio.gather(*(runner.close(at_once=at_once) for runner in self._runners))
        return 0 if self._broken is None else 1

    async def _open_first(self) -> Capabilities | None:
        """What the engines can do, from the first of them; None when stopped or broken before."""
        opening = asyncio.create_task(self._runners[0].open())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait((opening,))
            return None
        try:
            capabilities = opening.result()
        except Broken as broken:
            self._break(str(broken))
            return None
        if not capabilities.models:
            self._break("the engine found no model to offer")
            return None
        log.info("the engine is open", models=capabilities.models)
        self._observe(events.Started(capabilities.models))
        return capabilities

    async def _pop_run_deliver(self, capabilities: Capabilities) -> None:
        popper = Popper(self._settings, self._api, capabilities, self._breaker, self._observe)
        self._lanes = [asyncio.create_task(self._lane(runner)) for runner in self._runners]
        await self._pop(popper)
        if self._preparing:
            await asyncio.wait(set(self._preparing))
        for _ in self._lanes:
            self._ready.put_nowait(None)
        await asyncio.gather(*self._lanes)
        await self._last_words()

    async def _watch(self) -> None:
        """Tell of the drain; when it is not to be waited for, make the engines give up."""
        await wait_any(None, self._stop, self._abort)
        in_hand = len(self._preparing) + self._ready.qsize() + self._running
        in_hand += len(self._delivering)
        log.info("draining", in_hand=in_hand)
        self._observe(events.Draining(in_hand))
        await self._abort.wait()
        self._stop.set()
        self._observe(events.Draining(in_hand, at_once=True))
        await asyncio.gather(*(runner.cancel() for runner in self._runners))
        await asyncio.sleep(GIVE_UP_SECONDS_MAX)
        await asyncio.gather(*(runner.close(at_once=True) for runner in self._runners))

    def _break(self, reason: str) -> None:
        """Stop for good, after what is in hand."""
        log.error("the worker stops", reason=reason)
        self._broken = reason
        self._over.set()
        self._observe(events.Trouble(reason))

    @property
    def _ended(self) -> bool:
        """Whether no more work is to be asked for."""
        return any(end.is_set() for end in self._ends)

    @property
    def _room(self) -> bool:
        """Whether one more job would be started soon enough."""
        in_hand = self._ready.qsize() + len(self._preparing)
        engines_up = self._idle + self._running
        return engines_up > 0 and self._idle + self._settings.queue_size > in_hand

    async def _pop(self, popper: Popper) -> None:
        """Ask for work whenever there is room, until told to stop."""
        while not self._ended:
            self._changed.clear()
            if not self._room:
                await wait_any(None, self._changed, *self._ends)
                continue
            asking = await self._ask(popper)
            try:
                assignment = None if asking.cancelled() else asking.result()
            except Broken as broken:
                self._break(str(broken))
                return
            if assignment is not None:
                self._aside(self._preparing, self._prepare(assignment))
            else:
                hurry = (self._changed,) if popper.may_hurry else ()
                await wait_any(popper.pause_seconds, *hurry, *self._ends)

    async def _ask(self, popper: Popper) -> asyncio.Task[Assignment | None]:
        """One call for work; hung up when the worker stops meanwhile, or wants something else."""
        answered = asyncio.Event()
        asking = asyncio.create_task(popper.pop())
        asking.add_done_callback(lambda _: answered.set())
        news = False
        while not answered.is_set():
            self._changed.clear()
            if self._ended or not self._room or popper.outdated:
                await popper.hang_up(asking, self._abort)
                break
            await wait_any(None, answered, self._changed, *self._ends)
            news = news or self._changed.is_set()
        if news:
            self._changed.set()
        return asking

    async def _prepare(self, assignment: Assignment) -> None:
        """Fetch what the job needs while the engines are busy with others."""
        try:
            assignment.job = await image.prepare(self._api, self._settings, assignment)
        except Unfit as unfit:
            self._aside(self._delivering, self._delivery.fault(assignment, str(unfit), unfit.notes))
        except Exception as error:
            log.exception("a job could not be prepared", job=assignment.ids[0])
            reason = f"a fault in the worker: {type(error).__name__}"
            self._aside(self._delivering, self._delivery.fault(assignment, reason))
        else:
            self._ready.put_nowait(assignment)

    async def _lane(self, runner: Runner) -> None:
        """One engine's work. Without an engine, what is left is given back."""
        while True:
            lost = await self._bring_up(runner)
            self._idle += lost is None
            self._changed.set()
            assignment = await self._ready.get()
            self._idle -= lost is None
            if assignment is None:
                return
            if lost is not None:
                self._aside(self._delivering, self._delivery.fault(assignment, lost))
                continue
            self._running += 1
            try:
                await self._run(runner, assignment)
            finally:
                self._running -= 1
                self._changed.set()

    async def _bring_up(self, runner: Runner) -> str | None:
        """Why there is no engine, or None when there is one."""
        if self._abort.is_set():
            return STOPPED
        if runner.alive:
            return None
        try:
            await runner.open()
        except Broken as broken:
            if self._abort.is_set():
                return STOPPED
            self._break(str(broken))
            return str(broken)
        return None

    async def _run(self, runner: Runner, assignment: Assignment) -> None:
        try:
            if self._abort.is_set():
                raise JobFault(STOPPED)
            artifacts = await runner.run(assignment)
        except JobFault as fault:
            reason = STOPPED if self._abort.is_set() else str(fault)
            self._aside(self._delivering, self._delivery.fault(assignment, reason, fault.notes))
        else:
            self._aside(self._delivering, self._delivery.results(assignment, artifacts))

    def _aside(self, tasks: set[asyncio.Task[None]], coroutine: Coroutine[Any, Any, None]) -> None:
        """Let something run beside the rest, held so that the end can wait for it."""
        task = asyncio.create_task(coroutine)
        tasks.add(task)

        def done(finished: asyncio.Task[None]) -> None:
            tasks.discard(finished)
            self._changed.set()

        task.add_done_callback(done)

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
