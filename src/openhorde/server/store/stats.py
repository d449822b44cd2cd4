# SPDX-License-Identifier: AGPL-3.0-or-later
"""Statistics: what was done of each kind, within periods of several lengths."""

from dataclasses import dataclass
from typing import Final

from openhorde.server.store.statements import Statements

PERIODS: Final = ("minute", "hour", "day", "month", "total")


@dataclass(frozen=True, slots=True)
class Amount:
    """So many jobs, and how much work they were."""

    jobs: int
    things: int


@dataclass(frozen=True, slots=True)
class ModelCounts:
    """Jobs by model, of the models that had any, within a day, a month and ever."""

    day: dict[str, int]
    month: dict[str, int]
    total: dict[str, int]


async def totals(statements: Statements, kind: str) -> dict[str, Amount]:
    """What was done of a kind, by period."""
    row = await statements.row("totals_of_kind", kind)
    assert row is not None
    return {period: Amount(row[f"{period}_jobs"], row[f"{period}_things"]) for period in PERIODS}


async def models(statements: Statements, kind: str) -> ModelCounts:
    """How many jobs of a kind were done, by model."""
    of_day = await statements.rows("models_of_day", kind)
    ever = await statements.rows("models_ever", kind)
    return ModelCounts(
        day={row["model"]: row["jobs"] for row in of_day},
        month={row["model"]: row["month_jobs"] for row in ever if row["month_jobs"]},
        total={row["model"]: row["total_jobs"] for row in ever},
    )
