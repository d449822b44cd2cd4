# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers tell how far a running job is. It is passed on to who watches and stored nowhere; but a
job that gets further has its deadline put off."""

from collections import OrderedDict
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID

from openhorde.server.domain import lives
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import events, work
from openhorde.server.store.events import WatchedJob
from openhorde.server.store.signals import Changed, Signals, Stepped

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.users import Account

JOBS_MAX = 20_000
KEPT_SECONDS = 15.0
"""A signal may be lost, or come while the database is being asked."""


class StepReports:
    """The jobs that workers have reported on to this process. The database is asked for each job
    once, and again when something has happened to its request or some time has passed."""

    def __init__(self, signals: Signals) -> None:
        self._jobs: OrderedDict[UUID, tuple[WatchedJob, float]] = OrderedDict()
        self._by_request: dict[UUID, set[UUID]] = {}
        self._reached: OrderedDict[UUID, tuple[datetime, int]] = OrderedDict()
        signals.listen(Changed, lambda signal: self.forget(signal.request_id))
        signals.on_gap(self._forget_all)

    def find(self, job_id: UUID) -> WatchedJob | None:
        """A job that was reported on, if nothing has happened to its request since."""
        job, kept_at = self._jobs.get(job_id, (None, 0.0))
        return job if monotonic() - kept_at < KEPT_SECONDS else None

    def keep(self, job_id: UUID, job: WatchedJob) -> None:
        """Remember a job; the oldest request is forgotten when there are too many."""
        self._jobs[job_id] = job, monotonic()
        self._jobs.move_to_end(job_id)
        self._by_request.setdefault(job.request_id, set()).add(job_id)
        if len(self._jobs) > JOBS_MAX:
            self.forget(next(iter(self._jobs.values()))[0].request_id)

    def advances(self, job_id: UUID, popped_at: datetime, step: int) -> bool:
        """Whether no report on the job has told of this step yet, since it was handed out then."""
        handed_out_at, reached = self._reached.get(job_id, (popped_at, 0))
        if handed_out_at == popped_at and step <= reached:
            return False
        self._reached[job_id] = popped_at, step
        self._reached.move_to_end(job_id)
        if len(self._reached) > JOBS_MAX:
            self._reached.popitem(last=False)
        return True

    def forget(self, request_id: UUID) -> None:
        """Ask the database again about the jobs of a request."""
        for job_id in self._by_request.pop(request_id, ()):
            self._jobs.pop(job_id, None)

    def _forget_all(self) -> None:
        self._jobs.clear()
        self._by_request.clear()


async def report(
    horde: "Horde", owner: "Account", job_id: UUID, step: int, steps: int
) -> int | None:
    """Pass a worker's progress with a job on, and give it longer if it got further. After how many
    seconds it is given up, or None when its result is not wanted any more.

    Raises Refusal InvalidJobID, WrongCredentials.
    """
    job = horde.step_reports.find(job_id)
    if job is None:
        job = await events.job_watched(horde.statements, job_id)
        if job is None:
            raise Refusal("InvalidJobID", id=str(job_id))
        horde.step_reports.keep(job_id, job)
    if job.owner_id != owner.id:
        raise Refusal("WrongCredentials", reason="job", id=str(job_id))
    if not job.wanted or job.popped_at is None or job.deadline_at is None:
        return None
    horde.signals.send(Stepped(job.request_id, job_id, step, steps))
    now = horde.clock.now()
    deadline_at = job.deadline_at
    if horde.step_reports.advances(job_id, job.popped_at, step):
        later = lives.prolonged(
            popped_at=job.popped_at,
            deadline_at=deadline_at,
            life_seconds=job.life_seconds,
            now=now,
        )
        if later is not None:
            horde.step_reports.forget(job.request_id)
            if await work.prolong(
                horde.statements,
                job.together,
                popped_at=job.popped_at,
                deadline_at=deadline_at,
                later=later,
            ):
                deadline_at = later
    return max(0, int((deadline_at - now).total_seconds()))
