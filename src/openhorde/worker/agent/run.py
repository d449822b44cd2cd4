# SPDX-License-Identifier: AGPL-3.0-or-later
"""Running: each engine takes one prepared job after another, and is brought back when it dies."""

import asyncio
import contextlib
from collections import Counter

import structlog

from openhorde.worker.agent import events
from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.backoff import Backoff, wait_any
from openhorde.worker.agent.steps import StepReports
from openhorde.worker.backends.base import Artifact, Capabilities, JobFault
from openhorde.worker.backends.engine import Engine, EngineDied
from openhorde.worker.settings import WorkerSettings

OPENINGS_MAX = 5
DEATHS_MAX = 3
CANCELLED = "its request was cancelled"

log = structlog.get_logger(__name__)


class Broken(Exception):
    """The worker cannot go on; the message is for its owner."""


class Breaker:
    """Rests a model whose jobs killed an engine several times in a row."""

    def __init__(self) -> None:
        self._deaths: Counter[str] = Counter()

    @property
    def resting(self) -> set[str]:
        """The models not to ask for until the worker is started again."""
        return {model for model, deaths in self._deaths.items() if deaths >= DEATHS_MAX}

    def died(self, model: str) -> None:
        """An engine died of a job of this model."""
        self._deaths[model] += 1
        if self._deaths[model] == DEATHS_MAX:
            log.error("a model killed its engine too often and now rests", model=model)

    def lived(self, model: str) -> None:
        """A job of this model ended with its engine alive."""
        self._deaths.pop(model, None)


class Runner:
    """One engine: opens it, runs jobs on it, and opens it again when it died."""

    def __init__(
        self,
        settings: WorkerSettings,
        breaker: Breaker,
        reports: StepReports,
        observe: events.Observe,
        abort: asyncio.Event,
    ) -> None:
        self._engine = Engine(settings)
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

    async def open(self) -> Capabilities:
        """Bring the engine up, waiting ever longer between tries. Raises Broken after the last."""
        for tries_left in reversed(range(OPENINGS_MAX)):
            if self._failures:
                await wait_any(self._backoff.next_seconds(), self._abort)
            try:
                return await self._engine.open()
            except EngineDied as error:
                self._failures += 1
                log.error("the engine did not come up", reason=str(error), tries_left=tries_left)
                self._observe(events.Trouble(str(error)))
                if not tries_left or self._abort.is_set():
                    raise Broken(str(error)) from error
        raise AssertionError("the last try returns or raises")

    async def run(self, assignment: Assignment) -> list[Artifact]:
        """Have the job done in what is left of its time. Raises JobFault, whatever went wrong.

        A job whose request is cancelled meanwhile ends early, if the engine listens.
        """
        if assignment.job is None:
            raise JobFault("the job was not prepared")
        seconds_max = assignment.seconds_left - 2 * assignment.reserve_seconds
        if seconds_max <= 0:
            raise JobFault("its time to live was over before an engine was free")
        job_id = assignment.ids[0]
        unwanted = asyncio.Event()

        async def give_up() -> None:
            unwanted.set()
            await self.cancel()

        try:
            async with self._reports.following(job_id, give_up) as report:

                def stepped(step: int, steps: int) -> None:
                    self._observe(events.Progress(job_id, step, steps))
                    report(step, steps)

                artifacts = await self._engine.run(
                    assignment.job, seconds_max, assignment.reserve_seconds, stepped
                )
        except EngineDied as error:
            self._failures += 1
            self._breaker.died(assignment.model)
            self._observe(events.Trouble(f"an engine died: {error}"))
            raise JobFault(str(error)) from error
        except JobFault as fault:
            self._breaker.lived(assignment.model)
            if unwanted.is_set():
                raise JobFault(CANCELLED, fault.notes) from fault
            raise
        self._breaker.lived(assignment.model)
        self._failures = 0
        self._backoff.reset()
        return artifacts

    async def cancel(self) -> None:
        """Ask the running job to give up."""
        with contextlib.suppress(EngineDied):
            await self._engine.cancel()

    async def close(self, *, at_once: bool) -> None:
        """End the engine."""
        await (self._engine.kill() if at_once else self._engine.close())
