# SPDX-License-Identifier: AGPL-3.0-or-later
"""Work: jobs claimed, delivered and given up; the lanes they wait in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from openhorde.server.domain.ledger import Transfer
from openhorde.server.domain.needs import Needs
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
    """What a worker asks the queue for. `favoured_users` are served first; `blocked_words` are
    lower-case and may not be in the prompt."""

    worker_id: UUID
    terms: Sequence[LaneTerms]
    favoured_users: Sequence[int]
    blocked_words: Sequence[str]
    ttl_factor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """A job that a worker now has, with what it needs of its request."""

    id: UUID
    request_id: UUID
    kind: str
    ordinal: int
    rank: int
    model: str
    asked: int
    body: str
    sources: dict[str, Any] | None
    seed: int | None
    ttl_seconds: int


async def claim(statements: Statements, claim: Claim) -> list[ClaimedJob]:
    """Give the worker the best job it may have (and others of its request, for a batch)."""
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
    )
    return [ClaimedJob(**row) for row in rows]


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


async def live_lanes(statements: Statements) -> dict[int, int]:
    """The lanes in which jobs wait, with the rank at the head of each."""
    return {row["lane"]: row["rank"] for row in await statements.rows("live_lanes")}


async def lanes_by_id(statements: Statements, lanes: Sequence[int]) -> dict[int, Needs]:
    """What the given lanes need."""
    return {
        row["id"]: Needs(
            kind=row["kind"],
            words=tuple(row["words"]),
            pixels=row["pixels"],
            models=tuple(row["models"]),
            workers=tuple(row["workers"]),
            workers_excluded=row["workers_excluded"],
        )
        for row in await statements.rows("lanes_by_id", list(lanes))
    }


async def open_lane(statements: Statements, needs: Needs) -> int:
    """The number of the lane for these needs; made if it is new."""
    arguments = (
        needs.kind,
        needs.signature(),
        needs.words,
        needs.pixels,
        needs.models,
        needs.workers,
        needs.workers_excluded,
    )
    number = await statements.value("open_lane", *arguments)
    if number is None:  # Another server made it between our look and our insert.
        number = await statements.value("open_lane", *arguments)
    return int(number)


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """How much waits in a lane."""

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
            lanes[lane] = LaneLoad(requests, jobs, things)
        else:
            slices.append(RankSlice(kind, rank, requests, jobs, things))
    return lanes, sorted(slices, key=lambda piece: piece.rank)


async def highest_started_ranks(statements: Statements) -> dict[str, int]:
    """The highest rank that has been started, by kind."""
    return {row["kind"]: row["rank"] for row in await statements.rows("highest_started_rank")}


async def running_ranks(statements: Statements) -> dict[str, int]:
    """The highest rank that is being worked on, by kind."""
    return {row["kind"]: row["rank"] for row in await statements.rows("running_ranks")}


async def return_jobs(statements: Statements, job_ids: Sequence[UUID]) -> None:
    """Put jobs back into the queue whose worker never heard of them."""
    await statements.run("return_jobs", job_ids)


async def lock_request_of_job(statements: Statements, job_id: UUID) -> None:
    """Hold a request's turn until the transaction ends, so that its jobs can be counted."""
    await statements.run("lock_request_of_job", job_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What a delivery needs to know. `remaining_milli` is what the request's reservation still
    holds; `last_open`: no other job of the request waits or runs."""

    id: UUID
    request_id: UUID
    kind: str
    state: str
    model: str | None
    things: int
    worker_id: UUID | None
    reward_milli: int | None
    price_milli: int | None
    popped_at: datetime | None
    user_id: int
    tax_each_milli: int
    request_state: str
    owner_id: int | None
    bridge_agent: str | None
    remaining_milli: int
    last_open: bool


async def job_facts(statements: Statements, job_id: UUID) -> JobFacts | None:
    """A job with its request and worker, or None when it is not there (any more)."""
    row = await statements.row("job_facts", job_id)
    return JobFacts(**row) if row else None


async def deliver(
    statements: Statements,
    job: JobFacts,
    result: dict[str, Any],
    paid_milli: int,
    transfers: Sequence[Transfer],
) -> bool:
    """Take a result and book its transfers; False if somebody was faster."""
    return bool(
        await statements.value(
            "deliver_job",
            job.id,
            result,
            paid_milli,
            job.owner_id,
            *columns(transfers),
            job.last_open,
        )
    )


@dataclass(frozen=True, slots=True)
class Failed:
    """A job that was given up. `lane` and `rank` tell where its successor waits, if it has one."""

    request_id: UUID
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
    faults_max: int,
) -> Failed | None:
    """Give a running job up, once: None if it does not run (any more)."""
    row = await statements.row("fail_job", job_id, successor_id, result, outcome, faults_max)
    return Failed(**row) if row else None


async def overdue(statements: Statements, now: datetime) -> list[UUID]:
    """Some running jobs whose deadline has passed."""
    return [row["id"] for row in await statements.rows("overdue_jobs", now)]
