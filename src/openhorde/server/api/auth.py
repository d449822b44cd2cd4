# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who is calling, and whether the operation is theirs to call. The one place that decides it."""

from openhorde.server.api.operations import Call, Invalid, Who
from openhorde.server.domain.refusals import Refusal

_KEY_ASKED = frozenset({Who.USER, Who.MODERATOR})
_HOW_TO_KEY = "is missing: send your API key in this header, or 0000000000 to stay anonymous"


def require_key(who: Who, call: Call) -> None:
    """Raise Invalid if the operation asks for a key and none was sent.

    A missing key counts as a field that is not filled in (400); 401 is for keys nobody has.
    """
    if who in _KEY_ASKED and not call.api_key:
        raise Invalid({"apikey": _HOW_TO_KEY})


async def identify(who: Who, call: Call) -> None:
    """Set the call's account as far as the operation asks for it, and check its privilege.

    Raises Refusal: InvalidAPIKey or UserNotFound for a key nobody has, NotModerator.
    """
    if who is Who.ANYONE:
        return
    if call.api_key:
        call.account = await call.horde.accounts.by_key(call.api_key)
        if call.account is None and who is Who.SELF:
            raise Refusal("UserNotFound", reason="key")
        if call.account is None:
            raise Refusal("InvalidAPIKey")
    elif who is not Who.OPTIONAL:
        raise Refusal("InvalidAPIKey")
    if who is Who.MODERATOR and not call.caller.moderator:
        raise Refusal("NotModerator")
