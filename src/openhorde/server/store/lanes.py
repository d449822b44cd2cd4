# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lanes: what the jobs in each need, and in which of them jobs wait."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from openhorde.server.domain.needs import Needs
from openhorde.server.store.statements import Statements

NOTHING_SEEN: Final = "0"
"""How far the first reading of lanes has seen."""


async def live_lanes(statements: Statements, after: int, count: int) -> dict[int, int]:
    """The next so many lanes after the given one in which jobs wait, with the rank at the head of
    each."""
    rows = await statements.rows("live_lanes", after, count)
    return {row["lane"]: row["rank"] for row in rows}


async def heads_of_lanes(statements: Statements, lanes: Sequence[int]) -> dict[int, int]:
    """The rank at the head of each of the lanes in which jobs wait."""
    rows = await statements.rows("heads_of_lanes", lanes)
    return {row["lane"]: row["rank"] for row in rows}


async def lanes_of_users(statements: Statements, user_ids: Sequence[int]) -> dict[int, set[int]]:
    """The lanes in which jobs of each of the users wait."""
    found: dict[int, set[int]] = {}
    for row in await statements.rows("lanes_of_users", user_ids):
        found.setdefault(row["user_id"], set()).add(row["lane"])
    return found


async def lanes_asked(
    statements: Statements, seen_to: str, within_seconds: float
) -> tuple[str, dict[int, Needs]]:
    """What the lanes need that were asked for in transactions that an earlier reading may not have
    seen, unless that is longer ago; and how far this one has seen.

    Numbers and times will not do as a cursor: they are given out in one order and committed in
    another.
    """
    rows = await statements.rows("lanes_asked", seen_to, within_seconds)
    return (rows[0]["seen_to"] if rows else seen_to), _needs(rows)


async def lanes_by_id(statements: Statements, lanes: Sequence[int]) -> dict[int, Needs]:
    """What the given lanes need."""
    return _needs(await statements.rows("lanes_by_id", list(lanes)))


async def prune_lanes(statements: Statements, unused_since: datetime) -> None:
    """Forget lanes that nobody has asked for since then and that nothing is in."""
    await statements.run("prune_lanes", unused_since)


async def open_lane(statements: Statements, needs: Needs) -> int:
    """The number of the lane for these needs; made if it is new."""
    number = await statements.value(
        "open_lane",
        needs.kind,
        needs.signature(),
        needs.words,
        dict(needs.sizes),
        needs.models,
        needs.workers,
        needs.workers_excluded,
    )
    return int(number)


def _needs(rows: Iterable[asyncpg.Record]) -> dict[int, Needs]:
    return {
        row["id"]: Needs(
            kind=row["kind"],
            words=tuple(row["words"]),
            sizes=tuple(sorted(row["sizes"].items())),
            models=tuple(row["models"]),
            workers=tuple(row["workers"]),
            workers_excluded=row["workers_excluded"],
        )
        for row in rows
    }
