# SPDX-License-Identifier: AGPL-3.0-or-later
"""The jobs that this process has given out: what a delivery needs to know is known already.

Only jobs that are the whole of their request are kept: of others, other processes may change what
is left to be paid. Whether a job still runs is never taken from here; the statement that takes the
result compares and sets.
"""

from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

from openhorde.server.domain.lives import State
from openhorde.server.store.check_ins import WorkerRecord
from openhorde.server.store.work import ClaimedJob, JobFacts

JOBS_MAX = 20_000


class Assignments:
    """The single jobs given out lately; the oldest is forgotten when there are too many."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[UUID, JobFacts] = OrderedDict()

    def keep(self, jobs: Sequence[ClaimedJob], worker: WorkerRecord, bridge_agent: str) -> None:
        """A worker was given these jobs."""
        for job in jobs:
            if job.asked > 1:
                continue
            self._jobs[job.id] = JobFacts(
                id=job.id,
                request_id=job.request_id,
                kind=job.kind,
                state=State.RUNNING,
                model=job.model,
                things=job.things,
                worker_id=worker.id,
                reward_milli=job.reward_milli,
                price_milli=job.price_milli,
                user_id=job.user_id,
                tax_each_milli=job.tax_each_milli,
                owner_id=worker.user_id,
                bridge_agent=bridge_agent,
                remaining_milli=job.held_milli,
                others_open=None,
            )
        while len(self._jobs) > JOBS_MAX:
            self._jobs.popitem(last=False)

    def take(self, job_id: UUID) -> JobFacts | None:
        """What is known of a job, once: who asks again asks the database."""
        return self._jobs.pop(job_id, None)
