# SPDX-License-Identifier: AGPL-3.0-or-later
"""Delivery: upload each result, hand each job in, and report the ones that failed.

A result is on disk from the moment when it is made until the horde has taken or refused it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from openhorde.worker.agent import events
from openhorde.worker.agent.api import Away, HordeApi, Refused
from openhorde.worker.agent.assignment import Assignment, sleep_within
from openhorde.worker.agent.backoff import Backoff
from openhorde.worker.agent.kinds.table import KINDS
from openhorde.worker.agent.spool import Spool
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.backends.base import Artifact, JobFault, Note

UPLOAD_TRIES = 3
LEFT_AT_ONCE = 4
OF_EARLIER = "made by an earlier run"

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")


class Delivery:
    """Hands results in. Tries until the time to live is over, or the horde says it is useless."""

    def __init__(
        self, wishes: Wishes, api: HordeApi, observe: events.Observe, spool: Spool
    ) -> None:
        self._wishes = wishes
        self._api = api
        self._observe = observe
        self._spool = spool

    async def results(self, assignment: Assignment, artifacts: list[Artifact]) -> None:
        """Deliver one artifact for each id, side by side. A missing one is reported as a fault."""
        pairs = zip(range(len(artifacts)), assignment.ids, artifacts, strict=False)
        await asyncio.gather(
            *(self._result(assignment, index, artifact) for index, _, artifact in pairs),
            *(
                self._fault(assignment, job_id, "the engine made too few results", [])
                for job_id in assignment.ids[len(artifacts) :]
            ),
        )

    async def left(self, job_ids: Sequence[str]) -> None:
        """Deliver what an earlier run of this worker has made for these jobs and kept."""
        waiting = iter(job_ids)

        async def deliver() -> None:
            for job_id in waiting:
                spooled = await self._spool.read(job_id)
                if spooled is None:
                    await self._spool.forget(job_id)
                    continue
                log.info("a result of an earlier run is delivered", job=job_id)
                told = events.Popped([job_id], spooled.model, OF_EARLIER, spooled.kind)
                self._observe(told)
                self._observe(events.Made([job_id]))
                assignment = spooled.assignment(time.time())
                await self._hand_in(assignment, spooled.index, spooled.artifact)

        await asyncio.gather(*(deliver() for _ in range(LEFT_AT_ONCE)))

    async def fault(
        self, assignment: Assignment, reason: str, notes: list[Note] | None = None
    ) -> None:
        """Give every job of the assignment back, with the reason."""
        told = [*assignment.notes, *(notes or [])]
        await asyncio.gather(
            *(self._fault(assignment, job_id, reason, told) for job_id in assignment.ids)
        )

    async def _result(self, assignment: Assignment, index: int, artifact: Artifact) -> None:
        await self._spool.keep(assignment, index, artifact)
        await self._hand_in(assignment, index, artifact)

    async def _hand_in(self, assignment: Assignment, index: int, artifact: Artifact) -> None:
        """Deliver a result. When this is cut short, the next run does it."""
        await self._try(assignment, index, artifact)
        await self._spool.forget(assignment.ids[index])

    async def _try(self, assignment: Assignment, index: int, artifact: Artifact) -> None:
        job_id = assignment.ids[index]
        kind = KINDS[assignment.kind]
        try:
            uploaded = kind.uploads(assignment, artifact) and await self._upload(
                assignment, index, artifact.content
            )
            body = kind.result_body(assignment, index, artifact, uploaded)
        except JobFault as fault:
            await self._fault(assignment, job_id, str(fault), [*assignment.notes, *fault.notes])
            return
        try:
            reward = await self._persist(
                assignment, lambda: self._api.submit(kind.SUBMIT_PATH, body)
            )
        except (Away, Refused) as error:
            log.warning("a result was not taken", job=job_id, reason=str(error))
            self._observe(events.Undelivered(job_id, str(error)))
        else:
            self._observe(events.Delivered(job_id, reward))

    async def _fault(
        self, assignment: Assignment, job_id: str, reason: str, notes: list[Note]
    ) -> None:
        log.warning("a job failed", job=job_id, model=assignment.model, reason=reason)
        kind = KINDS[assignment.kind]
        body = kind.fault_body(job_id, reason, notes)
        try:
            await self._persist(assignment, lambda: self._api.submit(kind.SUBMIT_PATH, body))
        except (Away, Refused) as error:
            log.warning("a fault could not be reported", job=job_id, reason=str(error))
            self._observe(events.Faulted(job_id, reason, reported=False))
        else:
            self._observe(events.Faulted(job_id, reason))

    async def _upload(self, assignment: Assignment, index: int, content: bytes) -> bool:
        """Put a result into the horde's storage; False when that does not work."""
        url = assignment.uploads[index]
        if url is None:
            return False
        backoff = self._backoff()
        for tries_left in reversed(range(UPLOAD_TRIES)):
            try:
                await self._api.put(url, content)
            except Away as error:
                log.info("an upload failed", job=assignment.ids[index], reason=str(error))
                if tries_left and not await sleep_within(assignment, backoff.next_seconds()):
                    return False
            else:
                return True
        return False

    async def _persist(
        self, assignment: Assignment, attempt: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Attempt again and again; at least once, however late. Raises the last error."""
        backoff = self._backoff()
        while True:
            pause = backoff.next_seconds()
            try:
                return await attempt()
            except Refused as error:
                if error.final:
                    raise
                pause = max(pause, error.retry_after_seconds or 0)
                if not await sleep_within(assignment, pause):
                    raise
            except Away:
                if not await sleep_within(assignment, pause):
                    raise

    def _backoff(self) -> Backoff:
        settings = self._wishes.now
        return Backoff(settings.retry_seconds, settings.retry_seconds_max)
