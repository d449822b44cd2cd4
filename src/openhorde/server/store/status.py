# SPDX-License-Identifier: AGPL-3.0-or-later
"""Status: what the horde as a whole is doing."""

from collections.abc import Sequence
from dataclasses import dataclass

from openhorde.server.store.statements import Statements


@dataclass(frozen=True, slots=True)
class Running:
    """What workers have in hand of one lane, and the models it names."""

    lane: int
    kind: str
    models: Sequence[str]
    jobs: int
    things: int


async def running_by_lane(statements: Statements) -> list[Running]:
    """What is being worked on, by lane."""
    return [Running(**row) for row in await statements.rows("running_by_lane")]


async def speeds_by_model(statements: Statements, kind: str) -> dict[str, float]:
    """The mean speed of the last hour's jobs of a kind, in things a second, by model."""
    rows = await statements.rows("speeds_by_model", kind)
    return {row["model"]: row["things_per_second"] for row in rows}


async def things_of_past_minute(statements: Statements) -> dict[str, int]:
    """How much was done in the past minute, by kind."""
    rows = await statements.rows("things_of_past_minute")
    return {row["kind"]: row["things"] for row in rows}


async def answers(statements: Statements) -> bool:
    """Whether the database answers; raises whatever keeps it from doing so."""
    return bool(await statements.value("database_answers"))
