# SPDX-License-Identifier: AGPL-3.0-or-later
"""People with keys, for calls."""

from dataclasses import dataclass

from openhorde.server.actions.horde import Horde
from openhorde.server.actions.users import add_user


@dataclass(frozen=True)
class Person:
    """Somebody with an account, and the headers of their calls."""

    id: int
    alias: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """With their key."""
        return {"apikey": self.key}


async def person(horde: Horde, name: str, *, moderator: bool = False) -> Person:
    """Let somebody join."""
    added = await add_user(horde.statements, horde.salt, username=name, moderator=moderator)
    return Person(added.user_id, added.alias, added.api_key)
