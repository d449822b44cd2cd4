# SPDX-License-Identifier: AGPL-3.0-or-later
"""Users: who am I, one account, the list of all."""

from typing import Annotated

from msgspec import Meta, Struct

from openhorde.server.actions import user_edits
from openhorde.server.api.operations import Bucket, Call, Limit, Operation, Who
from openhorde.server.api.v2.users_shown import Level, show_edit, show_user
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import users
from openhorde.server.store.users import Account, ShownUser
from openhorde.wire.users import UserDetails, UserEdit, UserEdited

PAGE_SIZE = 25
PAGE_LAST = 10_000


class UsersQuery(Struct, kw_only=True):
    """Which page of the users, 25 to a page; `sort` is kudos (richest first) or age."""

    page: Annotated[int, Meta(ge=1, le=2**63 - 1)] = 1
    sort: Annotated[str, Meta(max_length=100)] = "kudos"


async def get_find_user(call: Call) -> UserDetails:
    """The account behind the key."""
    found = await users.shown_user(call.horde.statements, call.caller.id)
    if found is None:
        raise Refusal("UserNotFound", id=call.caller.alias)
    return await _show(call, found, Level.SELF)


async def get_user(call: Call) -> UserDetails:
    """One account, as much of it as the caller may see."""
    text = call.path["user_id"]
    user_id = users.user_id_of(text)
    found = None if user_id is None else await users.shown_user(call.horde.statements, user_id)
    if found is None:
        raise Refusal("UserNotFound", id=text)
    return await _show(call, found, _level(call.account, found))


async def put_user(call: Call) -> UserEdited:
    """Change an account; answers what has changed."""
    text = call.path["user_id"]
    user_id = users.user_id_of(text)
    return show_edit(await user_edits.edit_user(call.horde, call.caller, user_id, call.body, text))


async def get_users(call: Call) -> list[UserDetails]:
    """A page of accounts, as everybody sees them."""
    query: UsersQuery = call.query
    if query.page > PAGE_LAST:
        return []
    statements = call.horde.statements
    page_of = users.user_ids_by_age if query.sort == "age" else users.user_ids_by_kudos
    ids = await page_of(statements, (query.page - 1) * PAGE_SIZE, PAGE_SIZE)
    now = call.horde.clock.now()
    return [show_user(user, Level.PUBLIC, now) for user in await users.shown_users(statements, ids)]


def _level(caller: Account | None, user: ShownUser) -> Level:
    if caller is None:
        return Level.PUBLIC
    if caller.moderator:
        return Level.MODERATOR
    return Level.SELF if caller.id == user.id else Level.PUBLIC


async def _show(call: Call, user: ShownUser, level: Level) -> UserDetails:
    # The anonymous account's requests are everybody's: they are not listed.
    listed = level is not Level.PUBLIC and user.id != users.ANONYMOUS_ID
    requests = await users.open_requests(call.horde.statements, user.id) if listed else []
    return show_user(user, level, call.horde.clock.now(), requests)


OPERATIONS = (
    Operation(
        name="get_find_user",
        method="GET",
        path="/api/v2/find_user",
        handler=get_find_user,
        summary="The account behind the key",
        tag="users",
        who=Who.SELF,
        answer=UserDetails,
        refusals=("InvalidAPIKey", "UserNotFound"),
    ),
    Operation(
        name="get_user_single",
        method="GET",
        path="/api/v2/users/{user_id}",
        handler=get_user,
        summary="One account; its owner and moderators see more",
        tag="users",
        who=Who.OPTIONAL,
        answer=UserDetails,
        limits=(Limit("60/minute", Bucket.ADDRESS_AND_PATH),),
        refusals=("InvalidAPIKey", "UserNotFound"),
    ),
    Operation(
        name="put_user_single",
        method="PUT",
        path="/api/v2/users/{user_id}",
        handler=put_user,
        summary="Change an account: its owner, moderators and administrators, each some fields",
        tag="users",
        who=Who.USER,
        body=UserEdit,
        refuses_null=True,
        answer=UserEdited,
        limits=(Limit("60/minute", Bucket.ADDRESS_AND_PATH),),
        refusals=(
            "InvalidAPIKey",
            "UserNotFound",
            "NoUserModSelected",
            "NotAdmin",
            "NotModerator",
            "NotUserOrMod",
            "AnonForbiddenUserMod",
            "TooLongUserName",
            "BadRequest",
        ),
    ),
    Operation(
        name="get_users",
        method="GET",
        path="/api/v2/users",
        handler=get_users,
        summary="The accounts, page by page",
        tag="users",
        query=UsersQuery,
        answer=list[UserDetails],
        cache_seconds=10,
    ),
)
