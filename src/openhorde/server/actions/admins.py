# SPDX-License-Identifier: AGPL-3.0-or-later
"""Administrators: the accounts that the operator names in `OPENHORDE_ADMINS`, and no others.

No account has a privilege for being the first or for its number.
"""

from typing import TYPE_CHECKING, Final

from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.statements import Statements
    from openhorde.server.store.users import Account

PROVIDER: Final = "provider:"
"""Names an account by its provider id, which no stranger can choose."""


class UnknownAdmin(ValueError):
    """An administrator is named whom nobody is yet, or everybody: the text says what to do."""


def is_admin(horde: "Horde", caller: "Account") -> bool:
    """Whether the operator has named this account as an administrator."""
    return not caller.anonymous and any(
        name.removeprefix(PROVIDER) == caller.provider_id
        if name.startswith(PROVIDER)
        else users.user_id_of(name) == caller.id
        for name in horde.settings.admins
    )


def require_awarder(horde: "Horde", caller: "Account") -> None:
    """Raise Refusal NotAllowedAwards unless the caller is an administrator."""
    if not is_admin(horde, caller):
        raise Refusal("NotAllowedAwards")


async def check_admins(statements: "Statements", names: "Sequence[str]") -> None:
    """Raise UnknownAdmin for an id that is nobody's: whoever registers next might get it."""
    for name in names:
        if name.startswith(PROVIDER):
            continue
        user_id = users.user_id_of(name)
        if user_id is None:
            raise UnknownAdmin(
                f"{name!r} is no account: write NAME#ID, the id, or {PROVIDER}PROVIDER-ID"
            )
        if user_id == users.ANONYMOUS_ID:
            raise UnknownAdmin(f"{name!r} is the anonymous account, which everybody may use")
        if await users.account_by_id(statements, user_id) is None:
            raise UnknownAdmin(
                f"there is no account {name!r} yet, and whoever registers next might get its id:"
                " make it first with `horde user add`"
            )
