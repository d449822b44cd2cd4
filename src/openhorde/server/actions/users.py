# SPDX-License-Identifier: AGPL-3.0-or-later
"""Users: accounts are made and renamed, and get their first kudos."""

from dataclasses import dataclass
from uuid import uuid4

from openhorde.server.domain import ledger
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.shown_text import shown_text
from openhorde.server.kit.ids import hash_key, new_api_key, uuid7
from openhorde.server.store import kudos as kudos_store
from openhorde.server.store import users
from openhorde.server.store.statements import Statements

USERNAME_LENGTH_MAX = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedUser:
    """An account and its key. Nobody can read the key again: only its hash is stored."""

    api_key: str
    user_id: int
    username: str
    alias: str
    is_new: bool


def clean_username(username: str) -> str:
    """A username as it is stored: as it may be shown, at most 30 long.

    Raises Refusal when nothing is left.
    """
    cleaned = shown_text(username, USERNAME_LENGTH_MAX)
    if not cleaned:
        raise Refusal("BadRequest", reason="username")
    return cleaned


async def add_user(
    statements: Statements,
    salt: bytes,
    *,
    username: str,
    provider_id: str | None = None,
    moderator: bool = False,
    trusted: bool = False,
    kudos: int = 0,
) -> AddedUser:
    """Make an account, or give the one with this provider id another name, key and roles.

    Without a provider id the account is pseudonymous: nothing but its key leads back to it.
    `kudos` are made for it. A moderator is trusted too.
    """
    name = clean_username(username)
    api_key = new_api_key()
    roles = [*(["moderator"] if moderator else []), *(["trusted"] if trusted or moderator else [])]
    async with statements.transaction() as inside:
        user_id, is_new = await users.save_user(
            inside,
            username=name,
            provider_id=provider_id or str(uuid4()),
            key_hash=hash_key(salt, api_key),
            roles=roles,
        )
        if kudos:
            grant = ledger.grant(uuid7(), user_id, kudos * 1000, purpose="admin")
            await kudos_store.book(inside, grant)
    return AddedUser(
        api_key=api_key,
        user_id=user_id,
        username=name,
        alias=f"{name}#{user_id}",
        is_new=is_new,
    )
