# SPDX-License-Identifier: AGPL-3.0-or-later
"""Telling the horde how far a job is: beside the work, never in its way."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from openhorde.wire.work import StepReport
from openhorde.worker.agent.api import Away, HordeApi, Refused
from openhorde.worker.agent.backoff import Backoff
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.backends.base import ReportProgress

PATH = "generate/progress"
"""For jobs of any kind."""
INTERVAL_SECONDS = 0.5
UNKNOWN_STATUSES = (404, 405, 501)

log = structlog.get_logger(__name__)


class StepReports:
    """Reports steps of running jobs; never again once the horde turns out not to know of it."""

    def __init__(self, wishes: Wishes, api: HordeApi) -> None:
        self._wishes = wishes
        self._api = api
        self._unknown = False

    @contextlib.asynccontextmanager
    async def following(
        self,
        job_id: str,
        on_cancelled: Callable[[], Awaitable[None]],
        on_deadline: Callable[[float], None],
    ) -> AsyncIterator[ReportProgress]:
        """Takes the steps of one job meanwhile, as quickly as they come.

        Of those that come while a report is under way, or too soon after it, the last is told.
        `on_cancelled` is called when the horde says that nobody wants the job any more, and
        `on_deadline` with the moment (on time.monotonic) until which it waits for it.
        """
        latest: asyncio.Queue[tuple[int, int]] = asyncio.Queue(1)

        def heard(step: int, steps: int) -> None:
            if latest.full():
                latest.get_nowait()
            latest.put_nowait((step, steps))

        reporting = asyncio.create_task(self._report(job_id, latest, on_cancelled, on_deadline))
        try:
            yield heard
        finally:
            reporting.cancel()
            await asyncio.wait((reporting,))

    async def _report(
        self,
        job_id: str,
        latest: asyncio.Queue[tuple[int, int]],
        on_cancelled: Callable[[], Awaitable[None]],
        on_deadline: Callable[[float], None],
    ) -> None:
        settings = self._wishes.now
        backoff = Backoff(settings.retry_seconds, settings.retry_seconds_max)
        while not self._unknown:
            step, steps = await latest.get()
            asked_at = time.monotonic()
            try:
                heard = await self._api.report_steps(PATH, _body(job_id, step, steps))
            except Refused as error:
                if error.status in UNKNOWN_STATUSES and error.rc is None:
                    self._unknown = True
                    log.info("the horde does not want to hear of steps", reason=str(error))
                if self._unknown or error.final:
                    return
                pause_seconds = max(backoff.next_seconds(), error.retry_after_seconds or 0.0)
            except Away:
                pause_seconds = backoff.next_seconds()
            else:
                if heard.cancelled:
                    log.info("the request was cancelled", job=job_id)
                    await on_cancelled()
                    return
                on_deadline(asked_at + heard.ttl)
                backoff.reset()
                pause_seconds = INTERVAL_SECONDS
            await asyncio.sleep(pause_seconds)


def _body(job_id: str, step: int, steps: int) -> StepReport:
    steps = max(1, steps)
    return StepReport(id=job_id, step=max(0, min(step, steps)), steps=steps)
