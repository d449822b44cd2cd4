# SPDX-License-Identifier: AGPL-3.0-or-later
"""Check-ins: what workers say of themselves, stored every half minute and when it changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from openhorde.server.domain.lives import LATE_SHARE
from openhorde.server.store.statements import Statements


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """A worker as the queue sees it. `speed` in things a second, null before its first job."""

    id: UUID
    kind: str
    name: str
    user_id: int
    bridge_agent: str
    threads: int
    maintenance: bool
    maintenance_message: str | None
    paused: bool
    speed: float | None
    age_seconds: float
    idle_seconds: float


async def worker_by_name(statements: Statements, name: str) -> WorkerRecord | None:
    """The worker of that name, of whatever kind and owner."""
    row = await statements.row("worker_by_name", name)
    return WorkerRecord(**row) if row else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckIn:
    """What a worker says of itself. `offer` holds the options it popped with."""

    worker_id: UUID
    kind: str
    name: str
    user_id: int
    bridge_agent: str
    threads: int
    models: Sequence[str]
    offer: dict[str, Any]
    address: str


async def check_in(statements: Statements, said: CheckIn) -> tuple[UUID | None, bool]:
    """Store it; the worker's id, or None when the name is another user's or another kind's; and
    whether others do not know of this: it offers something else, or was away."""
    row = await statements.row(
        "check_in_worker",
        said.worker_id,
        said.kind,
        said.name,
        said.user_id,
        said.bridge_agent,
        said.threads,
        said.models,
        said.offer,
        said.address,
    )
    return (row["id"], row["is_new"]) if row else (None, False)


async def count_workers(
    statements: Statements, user_id: int, address: str, kind: str, name: str
) -> tuple[int, int]:
    """(of the user, from the address or its /64): the workers of that kind that were online within
    a day, besides the one of that name."""
    row = await statements.row("count_workers", user_id, address, kind, name)
    assert row is not None
    return row["of_user"], row["of_address"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineWorker:
    """A worker that is there to work, with the options it popped with."""

    id: UUID
    kind: str
    user_id: int
    bridge_agent: str
    threads: int
    models: Sequence[str]
    offer: dict[str, Any]
    speed: float | None
    owner_trusted: bool


async def online(statements: Statements) -> list[OnlineWorker]:
    """The workers that checked in lately and do not rest."""
    return [OnlineWorker(**row) for row in await statements.rows("online_offers")]


@dataclass(frozen=True, slots=True)
class RunningWork:
    """What a worker has in hand: so many jobs, and about how much of them is not done yet."""

    worker_id: UUID
    jobs: int
    things: float


async def running_work(
    statements: Statements, usual_speeds: Mapping[str, float]
) -> list[RunningWork]:
    """What each busy worker has in hand; without a measured speed it is taken to have the usual
    one of its kind, in things a second."""
    rows = await statements.rows("running_work", dict(usual_speeds), LATE_SHARE)
    return [RunningWork(**row) for row in rows]
