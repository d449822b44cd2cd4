# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engines of a worker, side by side: each takes the next job that it can do."""

import asyncio
import time
from collections.abc import Callable

import structlog

from openhorde.worker.agent import events
from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.bell import Bell
from openhorde.worker.agent.desk import Desk
from openhorde.worker.agent.kinds.table import combined
from openhorde.worker.agent.run import Breaker, Broken, Runner
from openhorde.worker.agent.steps import StepReports
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.backends.base import Artifact, Capabilities, JobFault
from openhorde.worker.backends.registry import engines_of
from openhorde.worker.settings import KindName

STOPPED = "the worker was stopped"

Made = Callable[[Assignment, list[Artifact] | JobFault], None]

log = structlog.get_logger(__name__)


class Crew:
    """All engines. `made` is given what they make, or why they did not; `bell` rings at changes."""

    def __init__(
        self,
        wishes: Wishes,
        reports: StepReports,
        breaker: Breaker,
        bell: Bell,
        observe: events.Observe,
        abort: asyncio.Event,
        made: Made,
    ) -> None:
        self._bell = bell
        self._observe = observe
        self._abort = abort
        self._made = made
        self.desk = Desk(bell)
        self._runners = [
            Runner(wishes, backend, number, breaker, reports, observe, abort)
            for backend in wishes.now.backends
            for number in range(engines_of(wishes.now, backend))
        ]

    async def work(self) -> None:
        """Open the engines and do what comes to the desk, until it is closed and cleared.

        What no engine can do any more is given up.
        """
        try:
            await asyncio.gather(*(self._lane(runner) for runner in self._runners))
        finally:
            for left in self.desk.clear():
                self._made(left, JobFault(STOPPED if self._abort.is_set() else self._why(left)))

    def put(self, assignment: Assignment) -> None:
        """Hand in a prepared job."""
        if any(runner.able(assignment) for runner in self._runners):
            self.desk.put(assignment)
        else:
            self._made(assignment, JobFault(self._why(assignment)))

    def capabilities(self, kind: KindName) -> Capabilities:
        """What the engines that are or will be up offer together of a kind."""
        return combined([one.capabilities for one in self._able(kind)], kind)

    def engines(self, kind: KindName) -> int:
        """How many engines do work of this kind, or will once they are open."""
        backends = {one.backend for one in self._able(kind)}
        return sum(one.backend in backends and one.lost is None for one in self._runners)

    def up(self, kind: KindName) -> int:
        """How many of them are not away."""
        return sum(one.up for one in self._able(kind))

    def idle(self, kind: KindName) -> int:
        """How many of them have nothing to do."""
        return sum(one.idle for one in self._able(kind))

    def shares(self, kind: KindName, other: KindName) -> bool:
        """Whether some engine does both."""
        return any(one.offers(other) for one in self._able(kind))

    @property
    def running(self) -> int:
        """How many jobs are being run."""
        return sum(one.running for one in self._runners)

    @property
    def opening(self) -> bool:
        """Whether some backend may yet turn out to offer something."""
        return any(not one.settled.is_set() for one in self._runners)

    @property
    def lost(self) -> str | None:
        """Why there is no engine left, or None while there is one."""
        reasons = [one.lost for one in self._runners]
        return None if None in reasons else reasons[0]

    async def cancel(self) -> None:
        """Ask the running jobs to give up."""
        await asyncio.gather(*(runner.cancel() for runner in self._runners))

    async def close(self, *, at_once: bool) -> None:
        """End the engines."""
        await asyncio.gather(*(runner.close(at_once=at_once) for runner in self._runners))

    def _able(self, kind: KindName) -> list[Runner]:
        return [runner for runner in self._runners if runner.offers(kind)]

    async def _lane(self, runner: Runner) -> None:
        """One engine's work. Should the worker itself be at fault, the other engines go on."""
        try:
            await self._serve(runner)
        except Exception as error:
            log.exception("a fault in the worker", engine=runner.name)
            self._lose(runner, f"a fault in the worker: {type(error).__name__}: {error}")

    async def _serve(self, runner: Runner) -> None:
        while await self._bring_up(runner):
            runner.idle = True
            self._bell.ring()
            try:
                assignment = await self._next(runner)
            finally:
                runner.idle = False
            if assignment is not None:
                runner.running = True
                try:
                    await self._run(runner, assignment)
                finally:
                    runner.running = False
                    self._bell.ring()

    async def _bring_up(self, runner: Runner) -> bool:
        """Whether there is an engine, and anything for it to do, now or later."""
        if self._over(runner):
            return False
        if runner.alive:
            return True
        opening = asyncio.create_task(self._open(runner))
        try:
            return await self._unless_over(runner, opening)
        finally:
            await _end(opening)

    async def _open(self, runner: Runner) -> bool:
        try:
            if not runner.settled.is_set():
                await self._let_the_first_try(runner)
            await runner.open()
        except Broken as broken:
            if not self._abort.is_set():
                self._lose(runner, str(broken))
            return False
        runner.tell_open()
        return True

    async def _let_the_first_try(self, runner: Runner) -> None:
        """The first engine of a backend shows whether any of it can be opened."""
        first = next(one for one in self._runners if one.backend == runner.backend)
        if runner is not first:
            await first.settled.wait()
            if first.lost is not None:
                raise Broken(first.lost)

    async def _next(self, runner: Runner) -> Assignment | None:
        """The next job for an engine; None when it fell meanwhile, or there will be none."""
        falling = asyncio.create_task(runner.fallen())
        try:
            while not falling.done() and not self._over(runner):
                ring = self._bell.next_ring
                assignment = self.desk.take(runner.able, runner.warm)
                if assignment is not None:
                    return assignment
                await _first(falling, ring)
        finally:
            await _end(falling)
        return None

    async def _run(self, runner: Runner, assignment: Assignment) -> None:
        self._observe(events.Running(assignment.ids, runner.backend, runner.number))
        self._bell.ring()
        outcome: list[Artifact] | JobFault
        try:
            if self._abort.is_set():
                raise JobFault(STOPPED)
            began = time.monotonic()
            outcome = await runner.run(assignment)
            assignment.run_seconds = time.monotonic() - began
        except JobFault as fault:
            outcome = JobFault(STOPPED, fault.notes) if self._abort.is_set() else fault
        except Exception as error:
            log.exception("a fault in the worker", job=assignment.ids[0])
            outcome = JobFault(f"a fault in the worker: {type(error).__name__}: {error}")
        self._observe(events.Made(assignment.ids))
        self._made(assignment, outcome)

    def _lose(self, runner: Runner, reason: str) -> None:
        """Go on without an engine, and without what only it could do."""
        log.error("an engine is lost", engine=runner.name, reason=reason)
        runner.give_up(reason)
        for orphan in self.desk.clear(lambda one: not any(r.able(one) for r in self._runners)):
            self._made(orphan, JobFault(reason))
        self._bell.ring()

    def _over(self, runner: Runner) -> bool:
        return self._abort.is_set() or self.desk.over(runner.able)

    async def _unless_over(self, runner: Runner, opening: "asyncio.Task[bool]") -> bool:
        """What opening comes to; False as soon as nobody needs the engine any more."""
        while not opening.done():
            ring = self._bell.next_ring
            if self._over(runner):
                return False
            await _first(opening, ring)
        return opening.result()

    def _why(self, assignment: Assignment) -> str:
        """Why nobody does a job."""
        reasons = [one.lost for one in self._runners if one.lost is not None]
        return reasons[0] if reasons else f"no engine here does {assignment.model or 'this'}"


async def _first(task: "asyncio.Task[bool] | asyncio.Task[None]", ring: asyncio.Event) -> None:
    """Wait for either."""
    rung = asyncio.ensure_future(ring.wait())
    try:
        await asyncio.wait((task, rung), return_when=asyncio.FIRST_COMPLETED)
    finally:
        rung.cancel()


async def _end(task: "asyncio.Task[bool] | asyncio.Task[None]") -> None:
    """Cancel a task, if it is not done, and wait for its end."""
    task.cancel()
    await asyncio.wait((task,))
