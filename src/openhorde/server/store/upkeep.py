# SPDX-License-Identifier: AGPL-3.0-or-later
"""Upkeep: the horde's own secrets, and counters that are folded from deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from openhorde.server.store.statements import Statements


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
    statements: Statements, aborted_jobs_max: int, maintenance_message: str
) -> Counted:
    """Add a batch of deliveries to the counters of workers and users."""
    row = await statements.row("count_deliveries", aborted_jobs_max, maintenance_message)
    assert row is not None
    return Counted(row["counted"], row["workers"])


async def prune_deliveries(statements: Statements, before: datetime) -> None:
    """Forget deliveries from before then."""
    await statements.run("prune_deliveries", before)
