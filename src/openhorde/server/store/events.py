# SPDX-License-Identifier: AGPL-3.0-or-later
"""What has happened to a request, as those hear of it who watch it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from openhorde.server.domain.kinds.table import USUAL_SPEEDS
from openhorde.server.domain.lives import LATE_SHARE, State
from openhorde.server.store.requests import RequestFacts, Result
from openhorde.server.store.statements import Statements


class TakenJob(msgspec.Struct, frozen=True, array_like=True):
    """A job that a worker has taken. A job that failed is tried again under the same `ordinal`.
    `result` is there once it has ended: what came of it, or why it failed."""

    ordinal: int
    id: UUID
    state: str
    model: str
    worker_id: UUID
    worker_name: str
    result: dict[str, Any] | None

    def finished(self) -> Result | None:
        """The job as a finished one, if it is."""
        if self.state != State.DONE or self.result is None:
            return None
        return Result(
            id=self.id,
            model=self.model,
            result=self.result,
            worker_id=self.worker_id,
            worker_name=self.worker_name,
        )


@dataclass(frozen=True, slots=True)
class Story:
    """How far a request is, and the jobs of it that were taken: by ordinal, then one after the
    other."""

    facts: RequestFacts
    taken: tuple[TakenJob, ...]

    def finished(self) -> list[Result]:
        """The jobs that are done, in the order they were asked for."""
        return [result for job in self.taken if (result := job.finished())]


async def check(statements: Statements, request_id: UUID) -> RequestFacts | None:
    """How far a request is, without its story, or None when it is not there (any more)."""
    story = await _story(statements, request_id, with_jobs=False)
    return story.facts if story else None


async def watch(statements: Statements, request_id: UUID) -> Story | None:
    """The story of a request so far, or None when it is not there (any more)."""
    return await _story(statements, request_id, with_jobs=True)


async def _story(statements: Statements, request_id: UUID, *, with_jobs: bool) -> Story | None:
    row = await statements.row("check_request", request_id, with_jobs, USUAL_SPEEDS, LATE_SHARE)
    if row is None:
        return None
    columns = dict(row)
    taken = columns.pop("taken")
    return Story(RequestFacts(**columns), tuple(msgspec.convert(taken, list[TakenJob])))


@dataclass(frozen=True, slots=True)
class WatchedJob:
    """Whose worker has a job (None: nobody's), and whether its result is still wanted. `together`
    are the jobs of the batch that it was handed out in, itself among them, and `life_seconds` is
    what the request gives a worker for all of these."""

    request_id: UUID
    owner_id: int | None
    wanted: bool
    popped_at: datetime | None
    deadline_at: datetime | None
    together: Sequence[UUID]
    life_seconds: int


async def job_watched(statements: Statements, job_id: UUID) -> WatchedJob | None:
    """What a report on a job needs to know."""
    row = await statements.row("job_watched", job_id)
    return WatchedJob(**row) if row else None
