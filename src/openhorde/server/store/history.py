# SPDX-License-Identifier: AGPL-3.0-or-later
"""The history of accounts: their sealed transfers, by place in the chain."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from openhorde.server.domain.chain import Entry
from openhorde.server.store.kudos import transfer_of
from openhorde.server.store.statements import Statements

END = (2**62, 0)
"""A place behind everything in the chain."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A transfer and where it is in the chain."""

    block: int
    position: int
    entry: Entry


async def history(
    statements: Statements, user_id: int, before: tuple[int, int], count: int
) -> list[Placed]:
    """The newest transfers of a user before a place (block, position), newest first."""
    rows = await statements.rows("history_of_user", user_id, *before, count)
    return [
        Placed(row["block"], row["position"], Entry(transfer_of(row), row["recorded_at"]))
        for row in rows
    ]


async def aliases(statements: Statements, user_ids: Collection[int]) -> dict[int, str]:
    """The public names of those accounts that exist."""
    rows = await statements.rows("aliases", list(user_ids))
    return {row["id"]: row["alias"] for row in rows}


@dataclass(frozen=True, slots=True)
class Remembered:
    """A request as it was asked; `body` is its JSON without the pictures that may have come."""

    id: UUID
    kind: str
    body: str
    has_sources: bool


async def remembered_requests(
    statements: Statements, request_ids: Collection[UUID]
) -> dict[UUID, Remembered]:
    """Those of the requests that are remembered."""
    rows = await statements.rows("remembered_requests", list(request_ids))
    return {row["id"]: Remembered(**row) for row in rows}
