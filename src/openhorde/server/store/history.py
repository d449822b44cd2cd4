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


async def remembered_requests(
    statements: Statements, request_ids: Collection[UUID], kind: str
) -> dict[UUID, tuple[str, bool]]:
    """Body and whether it came with a picture, of those requests of a kind that are remembered."""
    rows = await statements.rows("remembered_requests", list(request_ids), kind)
    return {row["id"]: (row["body"], row["has_sources"]) for row in rows}
