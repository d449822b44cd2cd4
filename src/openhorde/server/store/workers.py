# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers: what is shown of them, and what their owners and moderators change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from openhorde.server.store.statements import Statements


class NameTaken(Exception):
    """Another worker has this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownWorker:
    """Everything the wire may show of a worker. `offer` holds the options it popped with, `speed`
    things a second (null before its first job)."""

    id: UUID
    kind: str
    name: str
    user_id: int
    owner_name: str
    owner_roles: Sequence[str]
    owner_contact: str | None
    public_workers: bool
    bridge_agent: str
    threads: int
    models: Sequence[str]
    offer: dict[str, Any]
    address: str
    info: str | None
    maintenance: bool
    paused: bool
    speed: float | None
    requests_fulfilled: int
    uncompleted_jobs: int
    things: int
    generated_milli: int
    uptime_milli: int
    uptime_seconds: int
    suspicion: int
    online: bool


async def online_worker_ids(
    statements: Statements, *, kind: str | None, name_part: str | None
) -> list[UUID]:
    """The workers that checked in lately, by name; of one kind, or with these letters in it."""
    rows = await statements.rows("online_worker_ids", kind, name_part)
    return [row["id"] for row in rows]


async def worker_id_by_name(statements: Statements, name: str) -> UUID | None:
    """The worker of exactly this name."""
    found: UUID | None = await statements.value("worker_id_by_name", name)
    return found


async def shown_workers(statements: Statements, worker_ids: Sequence[UUID]) -> list[ShownWorker]:
    """Those of the workers that exist, in the given order."""
    rows = await statements.rows("shown_workers", list(worker_ids))
    return [ShownWorker(**row) for row in rows]


async def shown_worker(statements: Statements, worker_id: UUID) -> ShownWorker | None:
    """One worker, if it exists."""
    found = await shown_workers(statements, [worker_id])
    return found[0] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerChange:
    """What is to change of a worker; None leaves it. The message goes when maintenance ends."""

    maintenance: bool | None = None
    maintenance_message: str | None = None
    paused: bool | None = None
    info: str | None = None
    name: str | None = None


async def change_worker(statements: Statements, worker_id: UUID, change: WorkerChange) -> bool:
    """Change a worker; False when it is not there. Raises NameTaken."""
    try:
        found = await statements.value(
            "change_worker",
            worker_id,
            change.maintenance,
            change.maintenance_message,
            change.paused,
            change.info,
            change.name,
        )
    except asyncpg.UniqueViolationError:
        raise NameTaken(change.name) from None
    return found is not None


async def delete_worker(statements: Statements, worker_id: UUID) -> bool:
    """Forget a worker; False when it is not there (any more)."""
    return await statements.value("delete_worker", worker_id) is not None
