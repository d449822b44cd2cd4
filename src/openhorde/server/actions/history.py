# SPDX-License-Identifier: AGPL-3.0-or-later
"""What happened to an account's kudos, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from openhorde.server.domain.history import Meaning, meaning
from openhorde.server.domain.kinds.table import KINDS
from openhorde.server.domain.pricing_lines import PriceLine
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import history as store
from openhorde.server.store import users

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.users import Account


@dataclass(frozen=True, slots=True)
class Line:
    """One transfer explained. `counterparty` is an alias."""

    recorded_at: datetime
    purpose: str
    meaning: Meaning
    counterparty: str | None
    lines: Sequence[PriceLine] | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines, newest first, and the place (block, position) before which the next page is."""

    lines: Sequence[Line]
    next: tuple[int, int] | None


async def history(
    horde: "Horde", caller: "Account", user: str | None, before: tuple[int, int] | None, count: int
) -> Page:
    """A page of the caller's history, or of another user's for a moderator.

    Raises Refusal: AnonForbidden, NotModerator, UserNotFound.
    """
    if caller.anonymous:
        raise Refusal("AnonForbidden")
    user_id = caller.id if user is None else await _other(horde, caller, user)
    placed = await store.history(horde.statements, user_id, before or store.END, count + 1)
    shown = placed[:count]
    meanings = [meaning(each.entry.transfer, user_id) for each in shown]
    names = await _names(horde, meanings)
    priced = {
        hold
        for each in shown
        if each.entry.transfer.purpose == "price" and (hold := each.entry.transfer.hold)
    }
    requests = await store.remembered_requests(horde.statements, priced) if priced else {}
    lines = []
    for each, means in zip(shown, meanings, strict=True):
        transfer = each.entry.transfer
        request = None
        if transfer.purpose == "price" and transfer.hold is not None:
            request = requests.get(transfer.hold)
        lines.append(
            Line(
                recorded_at=each.entry.recorded_at,
                purpose=transfer.purpose,
                meaning=means,
                counterparty=names.get(means.counterparty),
                lines=None
                if request is None
                else KINDS[request.kind].price_lines(
                    request.body, transfer.amount_milli, has_sources=request.has_sources
                ),
            )
        )
    more = len(placed) > count
    return Page(lines, (shown[-1].block, shown[-1].position) if more else None)


async def _other(horde: "Horde", caller: "Account", user: str) -> int:
    if not caller.moderator:
        raise Refusal("NotModerator")
    user_id = users.user_id_of(user)
    found = None if user_id is None else await users.account_by_id(horde.statements, user_id)
    if found is None:
        raise Refusal("UserNotFound", id=user)
    return found.id


async def _names(horde: "Horde", meanings: Sequence[Meaning]) -> dict[int | None, str]:
    others = {each.counterparty for each in meanings if each.counterparty is not None}
    names: dict[int | None, str] = {}
    if others:
        for user_id, alias in (await store.aliases(horde.statements, others)).items():
            names[user_id] = alias
    return names
