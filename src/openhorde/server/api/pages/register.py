# SPDX-License-Identifier: AGPL-3.0-or-later
"""Registering: a pseudonymous account, made by a form or by a call."""

from typing import Annotated
from urllib.parse import parse_qsl

from msgspec import Meta, Struct

from openhorde.server.actions.users import USERNAME_LENGTH_MAX, AddedUser, add_user
from openhorde.server.api.operations import Answer, Call, Limit, Operation
from openhorde.server.api.pages.layout import page
from openhorde.server.api.words import refusal_answer
from openhorde.server.domain.refusals import Refusal

_FORM_FIELDS_MAX = 10
_FORM_BYTES_MAX = 10_000
_LIMITS = (Limit("10/minute"), Limit("100/day"))


class Registration(Struct, kw_only=True):
    """Who registers. Longer names are cut to 30 characters."""

    username: Annotated[str, Meta(min_length=1, max_length=1000)]


class Registered(Struct, kw_only=True):
    """The new account. The key is shown this once: only its hash is stored."""

    api_key: str
    user_id: int
    username: str
    alias: str


async def post_registration(call: Call) -> Registered:
    """Make an account for a program that asks."""
    registration: Registration = call.body
    added = await _register(call, registration.username)
    return Registered(
        api_key=added.api_key,
        user_id=added.user_id,
        username=added.username,
        alias=added.alias,
    )


async def get_form(call: Call) -> Answer:
    """The form."""
    if not call.horde.settings.registration:
        return page("closed", "Registration is closed", prefix=call.prefix, status=403)
    return _form(call, "", "")


async def post_form(call: Call) -> Answer:
    """What the form sends; the answer shows the key."""
    body: bytes = call.body
    try:
        fields = dict(parse_qsl(body.decode(), max_num_fields=_FORM_FIELDS_MAX))
    except ValueError:
        fields = {}
    username = fields.get("username", "")
    try:
        added = await _register(call, username)
    except Refusal as refusal:
        status, error = refusal_answer(refusal)
        return _form(call, username[:USERNAME_LENGTH_MAX], error.message, status)
    values = {"alias": added.alias, "api_key": added.api_key}
    return page("registered", "Welcome", values, prefix=call.prefix, private=True)


async def _register(call: Call, username: str) -> AddedUser:
    horde = call.horde
    if not horde.settings.registration:
        raise Refusal("Forbidden", reason="registration is closed on this horde")
    added = await add_user(horde.statements, horde.salt, username=username)
    horde.accounts.forget_unknown(added.api_key)
    return added


def _form(call: Call, username: str, complaint: str, status: int = 200) -> Answer:
    values = {"username": username, "complaint": complaint, "length": USERNAME_LENGTH_MAX}
    return page("register", "Register", values, prefix=call.prefix, status=status)


OPERATIONS = (
    Operation(
        name="post_register",
        method="POST",
        path="/api/register",
        handler=post_registration,
        summary="Make a pseudonymous account; its key is shown this once",
        tag="users",
        body=Registration,
        answer=Registered,
        status=201,
        limits=_LIMITS,
        refusals=("BadRequest", "Forbidden"),
    ),
    Operation(
        name="register_page",
        method="GET",
        path="/register",
        handler=get_form,
        summary="The form for an account",
        tag="",
    ),
    Operation(
        name="register_form",
        method="POST",
        path="/register",
        handler=post_form,
        summary="What the form sends",
        tag="",
        body=bytes,
        limits=_LIMITS,
        body_bytes_max=_FORM_BYTES_MAX,
    ),
)
