# SPDX-License-Identifier: AGPL-3.0-or-later
"""Work: jobs claimed, delivered and given up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from openhorde.server.domain.ledger import Transfer
from openhorde.server.domain.lives import Faults
from openhorde.server.store.kudos import columns
from openhorde.server.store.statements import Statements


@dataclass(frozen=True, slots=True)
class LaneTerms:
    """On what terms a worker would take a job of a lane: the model, the multiplier of the job's
    base price that this model brings, and at most how many jobs at once. A lane that is not
    `general` is served to favoured users only."""

    lane: int
    model: str
    multiplier: float
    amount: int
    general: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a worker asks the queue for. `favoured_users` are served first, where they wait in
    `favoured_lanes` (some of those in `terms`); `blocked_words` are lower-case and may not be in
    the prompt."""

    worker_id: UUID
    terms: Sequence[LaneTerms]
    favoured_users: Sequence[int]
    favoured_lanes: Sequence[int]
    blocked_words: Sequence[str]
    ttl_factor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """A job that a worker now has, with what it needs of its request. `held_milli` is what the
    request holds in reserve for all its jobs."""

    id: UUID
    request_id: UUID
    kind: str
    ordinal: int
    rank: int
    model: str
    asked: int
    things: int
    body: str
    sources: dict[str, Any] | None
    seed: int | None
    ttl_seconds: int
    user_id: int
    reward_milli: int
    price_milli: int
    popped_at: datetime
    tax_each_milli: int
    held_milli: int


async def claim(
    statements: Statements, claim: Claim
) -> tuple[list[ClaimedJob], dict[int, int] | None]:
    """Give the worker the best job it may have (and others of its request, for a batch).

    Also the rank that was at the head of each lane it looked at, if it looked and found a job.
    """
    rows = await statements.rows(
        "claim_jobs",
        claim.worker_id,
        [terms.lane for terms in claim.terms],
        [terms.model for terms in claim.terms],
        [terms.multiplier for terms in claim.terms],
        [terms.amount for terms in claim.terms],
        claim.favoured_users,
        [terms.general for terms in claim.terms],
        claim.blocked_words,
        claim.ttl_factor,
        claim.favoured_lanes,
    )
    if not rows:
        return [], None
    looked_lanes = rows[0]["looked_lanes"]
    looked = None
    if looked_lanes is not None:
        looked = dict(zip(looked_lanes, rows[0]["looked_ranks"], strict=True))
    return _claimed(rows), looked


async def claim_apart(statements: Statements, claim: Claim, amount: int) -> list[ClaimedJob]:
    """Give the worker the best jobs it may have, of whatever requests, at most so many."""
    rows = await statements.rows(
        "claim_jobs_apart",
        claim.worker_id,
        [terms.lane for terms in claim.terms],
        [terms.model for terms in claim.terms],
        [terms.multiplier for terms in claim.terms],
        amount,
        claim.favoured_users,
        [terms.general for terms in claim.terms],
        claim.blocked_words,
        claim.ttl_factor,
        claim.favoured_lanes,
    )
    return _claimed(rows)


def _claimed(rows: Iterable[asyncpg.Record]) -> list[ClaimedJob]:
    return [
        ClaimedJob(
            id=row["id"],
            request_id=row["request_id"],
            kind=row["kind"],
            ordinal=row["ordinal"],
            rank=row["rank"],
            model=row["model"],
            asked=row["asked"],
            things=row["things"],
            body=row["body"],
            sources=row["sources"],
            seed=row["seed"],
            ttl_seconds=row["ttl_seconds"],
            user_id=row["user_id"],
            reward_milli=row["reward_milli"],
            price_milli=row["price_milli"],
            popped_at=row["popped_at"],
            tax_each_milli=row["tax_each_milli"],
            held_milli=row["held_milli"],
        )
        for row in rows
    ]


async def anything_waiting(statements: Statements, claim: Claim) -> bool:
    """Would the claim find a job if nobody else held a lock?"""
    return bool(
        await statements.value(
            "anything_waiting",
            [terms.lane for terms in claim.terms],
            claim.favoured_users,
            [terms.general for terms in claim.terms],
            claim.blocked_words,
        )
    )


async def blocked_requests(
    statements: Statements, lanes: Sequence[int], blocked_words: Sequence[str]
) -> int:
    """How many requests at the front of the lanes have one of the words in their prompt."""
    return int(await statements.value("blocked_requests", lanes, blocked_words))


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """How much waits in a lane."""

    kind: str
    requests: int
    jobs: int
    things: int


@dataclass(frozen=True, slots=True)
class RankSlice:
    """A stretch of a kind's queue: its last rank, and what waits in it."""

    kind: str
    rank: int
    requests: int
    jobs: int
    things: int


async def queue_depth(
    statements: Statements,
) -> tuple[dict[int, LaneLoad], list[RankSlice]]:
    """How much waits in each lane that is not empty, and in each slice of each kind's queue, the
    slices from front to back."""
    lanes: dict[int, LaneLoad] = {}
    slices: list[RankSlice] = []
    for kind, lane, rank, requests, jobs, things in await statements.rows("queue_depth"):
        if lane is not None:
            lanes[lane] = LaneLoad(kind, requests, jobs, things)
        else:
            slices.append(RankSlice(kind, rank, requests, jobs, things))
    return lanes, sorted(slices, key=lambda piece: piece.rank)


async def median_started_ranks(statements: Statements) -> dict[str, int]:
    """The median of the ranks that the workers took last, by kind."""
    return {row["kind"]: row["rank"] for row in await statements.rows("median_started_ranks")}


@dataclass(frozen=True, slots=True)
class RunningRank:
    """The highest rank that a worker has in hand."""

    kind: str
    worker_id: UUID
    rank: int


async def running_ranks(statements: Statements) -> list[RunningRank]:
    """The highest rank that each worker has in hand."""
    return [RunningRank(**row) for row in await statements.rows("running_ranks")]


RETURNS_MAX = 3
"""A job that workers lost so often is left to its deadline when it is lost again: a worker that
takes and drops jobs for ever is then counted as one that fails."""


@dataclass(frozen=True, slots=True)
class Returned:
    """A job that waits again, and where."""

    request_id: UUID
    kind: str
    lane: int
    rank: int
    user_id: int


async def return_jobs(statements: Statements, jobs: Sequence[ClaimedJob]) -> list[Returned]:
    """Put jobs of one claim back into the queue whose worker never heard of them, unless somebody
    has been given them since."""
    job_ids, popped_at = [job.id for job in jobs], jobs[0].popped_at
    return [Returned(**row) for row in await statements.rows("return_jobs", job_ids, popped_at)]


async def return_unheld(
    statements: Statements, worker_id: UUID, held: Sequence[UUID], *, given_seconds_ago: float
) -> list[Returned]:
    """Put the jobs back into the queue that a worker was given longer ago than that and does not
    hold any more."""
    rows = await statements.rows(
        "return_unheld_jobs", worker_id, held, given_seconds_ago, RETURNS_MAX
    )
    return [Returned(**row) for row in rows]


async def lock_request_of_job(statements: Statements, job_id: UUID) -> str | None:
    """Hold a request's turn until the transaction ends, so that its jobs can be counted; its kind,
    or None when the job is not there (any more)."""
    row = await statements.row("lock_request_of_job", job_id)
    return row["kind"] if row else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What a delivery needs to know. `remaining_milli` is what the request's reservation still
    holds; `others_open`: "waiting" when other jobs of the request wait, else "running" when some
    run, else null."""

    id: UUID
    request_id: UUID
    kind: str
    state: str
    model: str | None
    things: int
    worker_id: UUID | None
    reward_milli: int | None
    price_milli: int | None
    user_id: int
    tax_each_milli: int
    owner_id: int | None
    bridge_agent: str | None
    remaining_milli: int
    others_open: str | None


async def job_facts(statements: Statements, job_id: UUID) -> JobFacts | None:
    """A job with its request and worker, or None when it is not there (any more)."""
    row = await statements.row("job_facts", job_id)
    return JobFacts(**row) if row else None


async def job_state(statements: Statements, job_id: UUID) -> str | None:
    """Where a job is, or None when it is not there (any more)."""
    state: str | None = await statements.value("job_state", job_id)
    return state


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a job: its result, what it earned and what it cost. `things` is null if it was
    as large as planned."""

    result: dict[str, Any]
    reward_milli: int
    paid_milli: int
    things: int | None


async def deliver(
    statements: Statements, job: JobFacts, done: Done, transfers: Sequence[Transfer]
) -> bool:
    """Take a result and book its transfers; False if somebody was faster, or if the job is not (any
    more) with the worker that `job` names."""
    return bool(
        await statements.value(
            "deliver_job",
            job.id,
            done.result,
            done.paid_milli,
            job.owner_id,
            *columns(transfers),
            job.others_open is None,
            done.reward_milli,
            done.things,
            job.worker_id,
        )
    )


@dataclass(frozen=True, slots=True)
class Failed:
    """A job that was given up. `lane` and `rank` tell where its successor waits, if it has one."""

    request_id: UUID
    kind: str
    user_id: int
    hopeless: bool
    lane: int | None
    rank: int | None


async def fail(
    statements: Statements,
    job_id: UUID,
    successor_id: UUID,
    *,
    result: dict[str, Any],
    outcome: str,
    rule: Faults,
    reason: str | None = None,
    worker_id: UUID | None = None,
) -> Failed | None:
    """Give a running job up, once: None if it does not run (any more), or not with `worker_id`.

    `reason` is what the worker states, in the form of `faults.stated_reason`.
    """
    row = await statements.row(
        "fail_job",
        job_id,
        successor_id,
        result,
        outcome,
        rule.most,
        rule.apart,
        reason,
        worker_id,
    )
    return Failed(**row) if row else None


async def prolong(
    statements: Statements,
    job_ids: Sequence[UUID],
    *,
    popped_at: datetime,
    deadline_at: datetime,
    later: datetime,
) -> bool:
    """Put the deadline of a batch off; False if it is not (any more) what the caller has seen."""
    return bool(await statements.rows("prolong_jobs", job_ids, popped_at, deadline_at, later))


async def overdue(statements: Statements, now: datetime) -> list[UUID]:
    """Some running jobs whose deadline has passed."""
    return [row["id"] for row in await statements.rows("overdue_jobs", now)]
