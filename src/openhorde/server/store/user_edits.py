# SPDX-License-Identifier: AGPL-3.0-or-later
"""Changing what is stored of an account."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from openhorde.server.store import upkeep
from openhorde.server.store.statements import Statements


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """What is to change of an account; None leaves it.

    `monthly_milli` is added to what the account is promised each month, which is never below 0.
    """

    roles_given: Collection[str] = field(default_factory=tuple)
    roles_taken: Collection[str] = field(default_factory=tuple)
    concurrency: int | None = None
    worker_invited: int | None = None
    usage_multiplier: float | None = None
    public_workers: bool | None = None
    username: str | None = None
    contact: str | None = None
    admin_comment: str | None = None
    reset_suspicion: bool = False
    monthly_milli: int = 0


async def change_user(
    statements: Statements, user_id: int, change: UserChange, now: datetime
) -> int:
    """Change an account that exists; what it is promised each month then, in millikudos.

    Whoever becomes trusted has their workers work again.
    """
    if "trusted" in change.roles_given:
        await upkeep.trust_user(statements, user_id)
    promised = await statements.value(
        "change_user",
        user_id,
        list(change.roles_given),
        list(change.roles_taken),
        change.concurrency,
        change.worker_invited,
        change.usage_multiplier,
        change.public_workers,
        change.username,
        change.contact,
        change.admin_comment,
        change.reset_suspicion,
        change.monthly_milli,
        now,
    )
    return int(promised)
