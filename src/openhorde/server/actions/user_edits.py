# SPDX-License-Identifier: AGPL-3.0-or-later
"""Users edit themselves; moderators and administrators edit others (rules 8.1)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from openhorde.server.actions.admins import is_admin
from openhorde.server.actions.users import USERNAME_LENGTH_MAX, clean_username
from openhorde.server.domain import ledger
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import floor_milli
from openhorde.server.domain.shown_text import shown_text
from openhorde.server.kit.ids import uuid7
from openhorde.server.store import kudos, user_edits, users
from openhorde.server.store.signals import Edited
from openhorde.server.store.user_edits import UserChange
from openhorde.wire.users import UserEdit

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.statements import Statements
    from openhorde.server.store.users import Account

ROLES: Final = (
    "moderator",
    "trusted",
    "flagged",
    "customizer",
    "vpn",
    "service",
    "education",
    "special",
)
NOTE_LENGTH_MAX: Final = 1000
OF_ADMINS: Final = frozenset({"kudos", "monthly_kudos", "usage_multiplier", "moderator"})
OF_USERS: Final = frozenset({"public_workers", "username", "contact"})
NOT_OF_ANONYMOUS: Final = OF_USERS | set(ROLES) | {"monthly_kudos"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What became of an edit: the change as it is stored, and, where these were edited, the balance
    and what is promised each month."""

    change: UserChange
    balance_milli: int | None
    monthly_milli: int | None


async def edit_user(
    horde: "Horde", caller: "Account", user_id: int | None, edit: UserEdit, name: str
) -> Edit:
    """Change an account, all of it or nothing; answers what has changed. `name` is as it was asked.

    Raises Refusal: UserNotFound, NoUserModSelected, NotAdmin, NotModerator, NotUserOrMod,
    AnonForbiddenUserMod, TooLongUserName, BadRequest.
    """
    user = None if user_id is None else await users.account_by_id(horde.statements, user_id)
    if user is None:
        raise Refusal("UserNotFound", id=name)
    given = {field for field, value in msgspec.structs.asdict(edit).items() if value is not None}
    _authorise(horde, caller, user, given)
    change = _change(edit)
    async with horde.statements.transaction() as statements:
        promised_milli = await user_edits.change_user(
            statements, user.id, change, horde.clock.now()
        )
        await _book(statements, user.id, edit, change)
        balance_milli = await kudos.coming_balance_milli(statements, user.id)
    horde.signals.send(Edited("user", str(user.id)))
    floor = floor_milli(anonymous=user.anonymous, pseudonymous=user.pseudonymous)
    return Edit(
        change=change,
        balance_milli=None if edit.kudos is None else max(floor, balance_milli),
        monthly_milli=None if edit.monthly_kudos is None else promised_milli,
    )


def _authorise(horde: "Horde", caller: "Account", user: "Account", given: set[str]) -> None:
    """Refuse the whole edit for the first of its fields that the caller may not change."""
    if not given:
        raise Refusal("NoUserModSelected")
    if given & OF_ADMINS and not is_admin(horde, caller):
        raise Refusal("NotAdmin")
    if given - OF_ADMINS - OF_USERS and not caller.moderator:
        raise Refusal("NotModerator")
    if given & OF_USERS and not (caller.moderator or caller.id == user.id):
        raise Refusal("NotUserOrMod")
    if user.anonymous and given & NOT_OF_ANONYMOUS:
        raise Refusal("AnonForbiddenUserMod")


def _change(edit: UserEdit) -> UserChange:
    """The edit as it is stored. A moderator is trusted too."""
    roles = {role: getattr(edit, role) for role in ROLES}
    given = {role for role, held in roles.items() if held}
    if "moderator" in given:
        given.add("trusted")
    return UserChange(
        roles_given=given,
        roles_taken={role for role, held in roles.items() if held is False} - given,
        concurrency=edit.concurrency,
        worker_invited=edit.worker_invited,
        usage_multiplier=edit.usage_multiplier,
        public_workers=edit.public_workers,
        username=_username(edit.username),
        contact=_cleaned("contact", edit.contact),
        admin_comment=_cleaned("admin_comment", edit.admin_comment),
        reset_suspicion=edit.reset_suspicion is not None,
        monthly_milli=(edit.monthly_kudos or 0) * 1000,
    )


def _username(username: str | None) -> str | None:
    if username is None:
        return None
    if len(username) > USERNAME_LENGTH_MAX:
        raise Refusal("TooLongUserName", given=len(username), maximum=USERNAME_LENGTH_MAX)
    return clean_username(username)


def _cleaned(field: str, text: str | None) -> str | None:
    if text is None:
        return None
    cleaned = shown_text(text, NOTE_LENGTH_MAX)
    if not cleaned:
        raise Refusal("BadRequest", reason=f"{field} holds nothing that can be shown")
    return cleaned


async def _book(statements: "Statements", user_id: int, edit: UserEdit, change: UserChange) -> None:
    """Kudos are added at once, and so is the first month of a raise."""
    await kudos.book(
        statements,
        (
            *ledger.grant(uuid7(), user_id, round((edit.kudos or 0) * 1000), purpose="admin"),
            *ledger.grant(uuid7(), user_id, max(0, change.monthly_milli), purpose="recurring"),
        ),
    )
