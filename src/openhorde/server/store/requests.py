# SPDX-License-Identifier: AGPL-3.0-or-later
"""Requests: stored, looked at, cancelled, expired and forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from openhorde.server.domain.kinds.face import Order
from openhorde.server.domain.ledger import Transfer
from openhorde.server.store.kudos import columns
from openhorde.server.store.statements import Statements


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRequest:
    """A request as it is stored. `job_ids`, `lanes`, `things` and `costs_things` go together, one
    of each for a job."""

    id: UUID
    kind: str
    user_id: int
    job_ids: Sequence[UUID]
    lanes: Sequence[int]
    things: Sequence[int]
    costs_things: Sequence[int]
    sources: dict[str, Any] | None
    source_bytes: int
    order: Order
    reserved_milli: int
    client_agent: str
    client_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a request joins the queue: not before `rank`, nor, if it `follows`, before the end of
    what its user has asked already. Its jobs go so much behind that as `offsets` say, and `span`
    behind it they end. `is_known`: `rank` takes account of what its user has asked."""

    rank: int
    offsets: Sequence[int]
    span: int
    is_known: bool = False

    @property
    def follows(self) -> bool:
        """Must the database say where the user's work ends?"""
        return self.span > 0 and not self.is_known


@dataclass(frozen=True, slots=True)
class Submitted:
    """`rank` is null when the user would have had too many jobs `waiting`."""

    waiting: int
    rank: int | None


async def submit(
    statements: Statements,
    request: NewRequest,
    place: Place,
    transfers: Sequence[Transfer],
    concurrency: int,
    counted_lanes: Sequence[int] | None,
) -> Submitted:
    """Store a request with its jobs and transfers, in one statement.

    `concurrency` bounds the user's waiting jobs; `counted_lanes` narrows what is counted.
    """
    order = request.order
    row = await statements.row(
        "submit_request",
        request.id,
        request.kind,
        request.user_id,
        request.lanes,
        request.things,
        order.body,
        request.sources,
        order.seed,
        order.batching,
        order.inline_results,
        order.shared,
        order.base_milli,
        order.price_each_milli,
        order.tax_each_milli,
        order.activation_milli,
        request.reserved_milli,
        order.ttl_seconds,
        place.rank,
        place.follows,
        place.offsets,
        place.span,
        request.client_agent,
        request.client_address,
        concurrency,
        counted_lanes,
        request.job_ids,
        *columns(transfers),
        order.screened_text,
        order.webhook,
        request.source_bytes,
    )
    assert row is not None
    return Submitted(row["waiting"], row["start_tag"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """How far a request is: counts of its jobs by state; of those that wait the lanes, the things
    in all, and the rank of the first."""

    id: UUID
    kind: str
    user_id: int
    state: str
    asked: int
    shared: bool
    inline_results: bool
    activation_milli: int
    created_at: datetime
    waiting: int
    running: int
    done: int
    faulted: int
    rank: int | None
    lanes_waiting: Sequence[int]
    things_waiting: int
    paid_milli: int
    remaining_seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """A finished job of a request."""

    id: UUID
    model: str
    result: dict[str, Any]
    worker_id: UUID
    worker_name: str


async def body(statements: Statements, request_id: UUID) -> str | None:
    """What a request asked for, as JSON, or None when it is not there (any more)."""
    found: str | None = await statements.value("request_body", request_id)
    return found


async def lock(statements: Statements, request_ids: Sequence[UUID]) -> None:
    """Hold the turn of requests until the transaction ends, so that their jobs can be counted."""
    await statements.run("lock_requests", request_ids)


async def cancel(statements: Statements, request_id: UUID) -> None:
    """Withdraw the jobs of a request that still wait."""
    await statements.run("cancel_request", request_id)


async def end(statements: Statements, request_ids: Sequence[UUID]) -> None:
    """Note the end of those of the requests of which no job is open."""
    await statements.run("end_requests", request_ids)


async def unsettled(
    statements: Statements, request_ids: Sequence[UUID]
) -> list[tuple[UUID, int, int]]:
    """(request, user id, millikudos that it may still hold in reserve) of those of the requests of
    which no job is open."""
    rows = await statements.rows("unsettled_requests", request_ids)
    return [(row["id"], row["user_id"], row["remaining_milli"]) for row in rows]


async def expirable(statements: Statements, idle_since: datetime) -> list[UUID]:
    """Some requests on which nothing has happened since then."""
    return [row["id"] for row in await statements.rows("expirable_requests", idle_since)]


async def expire(statements: Statements, request_ids: Sequence[UUID]) -> list[UUID]:
    """End requests whose time is over; which of them."""
    return [row["id"] for row in await statements.rows("expire_requests", request_ids)]


async def source_bytes(statements: Statements) -> int:
    """What the source pictures of all requests take in the store."""
    row = await statements.row("source_bytes")
    assert row is not None
    return int(row["bytes"])


async def source_bytes_of_user(statements: Statements, user_id: int, network: str | None) -> int:
    """What those of one user take there; with a network (an address, of IPv6 the first one of its
    /64), those that came from it."""
    row = await statements.row("source_bytes_of_user", user_id, network)
    assert row is not None
    return int(row["bytes"])


async def ended_with_sources(
    statements: Statements,
) -> list[tuple[UUID, dict[str, Any] | None]]:
    """Some requests that have ended and still have source pictures in the store, each with them."""
    rows = await statements.rows("ended_with_sources")
    return [(row["id"], row["sources"]) for row in rows]


async def drop_sources(statements: Statements, request_ids: Sequence[UUID]) -> None:
    """Note that the source pictures of these requests have been deleted."""
    await statements.run("drop_sources", list(request_ids))


async def purgeable(
    statements: Statements, ended_before: datetime
) -> list[tuple[UUID, dict[str, Any] | None]]:
    """Some requests that ended before then, each with its source pictures."""
    rows = await statements.rows("purgeable_requests", ended_before)
    return [(row["id"], row["sources"]) for row in rows]


async def purge(statements: Statements, request_ids: Sequence[UUID]) -> None:
    """Forget requests and their jobs."""
    await statements.run("purge_requests", list(request_ids))


async def existing_workers(statements: Statements, worker_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the workers that exist."""
    return {row["id"] for row in await statements.rows("existing_workers", list(worker_ids))}
