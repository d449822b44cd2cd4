# SPDX-License-Identifier: AGPL-3.0-or-later
"""Running: each engine takes one prepared job after another, and is brought back when it dies."""

import asyncio
import contextlib
from collections import Counter

import structlog

from openhorde.worker.agent import events
from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.backoff import Backoff, wait_any
from openhorde.worker.agent.kinds.table import KINDS
from openhorde.worker.agent.steps import StepReports
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.backends.base import Artifact, Capabilities, InMemory, Job, JobFault
from openhorde.worker.backends.engine import Engine, EngineDied
from openhorde.worker.settings import KindName

OPENINGS_MAX = 5
DEATHS_MAX = 3
CANCELLED = "its request was cancelled"

log = structlog.get_logger(__name__)


class Broken(Exception):
    """The worker cannot go on; the message is for its owner."""


class Misconfigured(Broken):
    """It cannot go on until its owner has changed a setting, however often it is started."""


class Breaker:
    """Rests a model or form whose jobs killed an engine several times in a row."""

    def __init__(self) -> None:
        self._deaths: Counter[tuple[KindName, str]] = Counter()

    def resting(self, kind: KindName) -> frozenset[str]:
        """What not to ask for until the worker is started again."""
        return frozenset(
            name
            for (one, name), deaths in self._deaths.items()
            if one == kind and deaths >= DEATHS_MAX
        )

    def died(self, assignment: Assignment) -> None:
        """An engine died of a job of this model."""
        key = (assignment.kind, assignment.model)
        self._deaths[key] += 1
        if self._deaths[key] == DEATHS_MAX:
            log.error("it killed its engine too often and now rests", name=assignment.model)

    def lived(self, assignment: Assignment) -> None:
        """A job of this model ended with its engine alive."""
        self._deaths.pop((assignment.kind, assignment.model), None)


class Runner:
    """One engine of a backend: opens it, runs jobs on it, and opens it again when it died."""

    def __init__(
        self,
        wishes: Wishes,
        backend: str,
        number: int,
        breaker: Breaker,
        reports: StepReports,
        observe: events.Observe,
        abort: asyncio.Event,
    ) -> None:
        settings = wishes.now
        self.backend = backend
        self.number = number
        self.capabilities = Capabilities()
        self.lost: str | None = None
        self.idle = False
        self.running = False
        self.warm = ""
        """The model of the last job."""
        self.settled = asyncio.Event()
        """Set when it was open once, or is lost."""
        self._engine = Engine(settings, backend)
        self._in_memory: list[InMemory] = []
        self._breaker = breaker
        self._reports = reports
        self._observe = observe
        self._abort = abort
        self._backoff = Backoff(settings.retry_seconds, settings.retry_seconds_max)
        self._failures = 0

    @property
    def alive(self) -> bool:
        """Whether the engine can take a job."""
        return self._engine.alive

    @property
    def up(self) -> bool:
        """Whether it is at work, or would be if there was any."""
        return self.idle or self.running

    def offers(self, kind: KindName) -> list[str]:
        """The models or forms of a kind that the engine can do; what it could while it is away."""
        return [] if self.lost is not None else KINDS[kind].offered(self.capabilities)

    def able(self, assignment: Assignment) -> bool:
        """Whether a job is one for this engine."""
        return assignment.model in self.offers(assignment.kind)

    async def fallen(self) -> None:
        """Wait until the engine, which has nothing to do, is gone all the same; tell of it."""
        reason = await self._engine.ended()
        self._failures += 1
        self._observe(events.Trouble(f"{self.name}: {reason}"))
        self._tell("opening", reason)

    async def open(self) -> None:
        """Bring the engine up, waiting ever longer between tries. Raises Broken after the last."""
        self._tell("opening")
        for tries_left in reversed(range(OPENINGS_MAX)):
            if self._failures:
                await wait_any(self._backoff.next_seconds(), self._abort)
            try:
                self.capabilities = await self._engine.open()
            except EngineDied as error:
                self._failures += 1
                log.error(
                    "the engine did not come up",
                    engine=self.name,
                    reason=str(error),
                    tries_left=tries_left,
                )
                self._observe(events.Trouble(f"{self.name}: {error}"))
                self._tell("opening", str(error))
                if not tries_left or self._abort.is_set():
                    raise Broken(str(error)) from error
            else:
                self.settled.set()
                return
        raise AssertionError("the last try returns or raises")

    @property
    def name(self) -> str:
        """As people read it."""
        return events.engine_name(self.backend, self.number)

    def tell_open(self) -> None:
        """Tell that it is open, and what it offers."""
        offers = {str(kind): self.offers(kind) for kind in KINDS if self.offers(kind)}
        log.info("the engine is open", engine=self.name, **offers)
        self._observe(events.EngineChanged(self.backend, self.number, "open", offers))
        self._in_memory = []
        self._tell_memory()

    def give_up(self, reason: str) -> None:
        """It will not come back."""
        self.lost = reason
        self.settled.set()
        self._tell("lost", reason)

    def _tell(self, state: events.EngineState, reason: str = "") -> None:
        self._observe(events.EngineChanged(self.backend, self.number, state, reason=reason))

    def _tell_memory(self) -> None:
        """Tell what the engine has in memory, if that is news."""
        if self._engine.in_memory != self._in_memory:
            self._in_memory = self._engine.in_memory
            self._observe(events.MemoryChanged(self.backend, self.number, self._in_memory))

    async def run(self, assignment: Assignment) -> list[Artifact]:
        """Have the job done in what is left of its time. Raises JobFault, whatever went wrong.

        A job whose request is cancelled meanwhile ends early, if the engine listens.
        """
        if assignment.job is None:
            raise JobFault("the job was not prepared")
        self.warm = assignment.model
        seconds_max = assignment.run_seconds_left
        if seconds_max <= 0:
            raise JobFault("its time to live was over before an engine was free")
        try:
            artifacts = await self._follow(assignment, assignment.job, seconds_max)
        except EngineDied as error:
            self._failures += 1
            self._breaker.died(assignment)
            self._observe(events.Trouble(f"{self.name}: an engine died: {error}"))
            self._tell("opening", str(error))
            raise JobFault(str(error)) from error
        except JobFault:
            self._breaker.lived(assignment)
            raise
        self._breaker.lived(assignment)
        self._failures = 0
        self._backoff.reset()
        return artifacts

    async def _follow(self, assignment: Assignment, job: Job, seconds_max: float) -> list[Artifact]:
        """Run the job while its steps are told and its request is watched."""
        job_id = assignment.ids[0]
        unwanted = asyncio.Event()

        async def give_up() -> None:
            unwanted.set()
            await self.cancel()

        def prolong(moment: float) -> None:
            assignment.lives_until(moment)
            self._engine.allow(assignment.run_seconds_left)

        async with self._reports.following(job_id, give_up, prolong) as report:

            def stepped(step: int, steps: int) -> None:
                self._observe(events.Progress(job_id, step, steps))
                report(step, steps)

            try:
                return await self._engine.run(job, seconds_max, assignment.reserve_seconds, stepped)
            except JobFault as fault:
                if unwanted.is_set():
                    raise JobFault(CANCELLED, fault.notes) from fault
                raise
            finally:
                self._tell_memory()

    async def cancel(self) -> None:
        """Ask the running job to give up."""
        with contextlib.suppress(EngineDied):
            await self._engine.cancel()

    async def close(self, *, at_once: bool) -> None:
        """End the engine."""
        await (self._engine.kill() if at_once else self._engine.close())
