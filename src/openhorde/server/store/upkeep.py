# SPDX-License-Identifier: AGPL-3.0-or-later
"""Upkeep: the horde's own secrets, and counters that are folded from deliveries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from openhorde.server.store.statements import Statements

COUNT_BATCH = 5000
"""So many deliveries are counted at once."""


async def keep_secret(statements: Statements, name: str, fresh: bytes) -> bytes:
    """The horde's secret of that name; `fresh` becomes it if there is none yet."""
    value = await statements.value("keep_secret", name, fresh)
    if value is None:  # Another server made it between our look and our insert.
        value = await statements.value("keep_secret", name, fresh)
    return bytes(value)


@dataclass(frozen=True, slots=True)
class Counted:
    """How many deliveries went into the counters, and the names of the workers they changed."""

    deliveries: int
    workers: Sequence[str]


async def count_deliveries(
    statements: Statements,
    aborted_jobs_max: Mapping[str, int],
    maintenance_message: str,
    kinds_by_time: Sequence[str],
) -> Counted:
    """Add a batch of deliveries to the counters of workers and users. A worker may give up so many
    jobs of its kind within an hour; the speed of some kinds is reckoned by time."""
    row = await statements.row(
        "count_deliveries",
        dict(aborted_jobs_max),
        maintenance_message,
        COUNT_BATCH,
        kinds_by_time,
    )
    assert row is not None
    return Counted(row["counted"], row["workers"])


async def prune_deliveries(statements: Statements, before: datetime) -> None:
    """Forget deliveries from before then, the oldest first, some thousand at a time."""
    await statements.run("prune_deliveries", before)


@dataclass(frozen=True, slots=True)
class Uptime:
    """A worker whose time is to be rewarded. `offer` holds the options it popped with."""

    id: UUID
    kind: str
    user_id: int
    uptime_seconds: int
    models: Sequence[str]
    offer: dict[str, Any]
    owner_trusted: bool


async def take_uptime(statements: Statements, period_seconds: int) -> list[Uptime]:
    """Workers that are due a reward; taking them marks them as rewarded."""
    return [Uptime(**row) for row in await statements.rows("take_uptime", period_seconds)]


async def add_uptime_reward(statements: Statements, worker_id: UUID, amount_milli: int) -> None:
    """Add a reward to a worker's own total."""
    await statements.run("add_uptime_reward", worker_id, amount_milli)


@dataclass(frozen=True, slots=True)
class Escrow:
    """What an owner has in escrow, and what decides whether it is paid out."""

    user_id: int
    escrow_milli: int
    suspicion: int
    trusted: bool
    age_seconds: int


async def escrows(statements: Statements, above_milli: int) -> list[Escrow]:
    """Owners whose escrow may be due: trusted ones, and others with more than so much."""
    return [Escrow(**row) for row in await statements.rows("escrows", above_milli)]


async def trust_user(statements: Statements, user_id: int) -> None:
    """Make an account trusted."""
    await statements.run("trust_user", user_id)
