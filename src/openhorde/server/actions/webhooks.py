# SPDX-License-Identifier: AGPL-3.0-or-later
"""Webhooks: attempts at calls, their secrets, and the log."""

from random import random
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from openhorde.server.actions.showing import show_result
from openhorde.server.domain import webhooks as rules
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.webhooks import Attempt
from openhorde.server.kit.fetch import FetchRefused
from openhorde.server.store import events, webhooks
from openhorde.server.store.webhooks import DueCall, LoggedCall

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde

_ERROR_CHARACTERS_MAX = 300
_SHOWN_CHARACTERS_MAX = 200
# The address itself is not told: it may be a name of the operator's own network.
_SENTENCES = {
    "forbidden_address": "The host has an address that is not public; such are not called.",
    "invalid_url": "The URL cannot be called: {detail}.",
    "timeout": "The host did not answer in time.",
    "unreachable": "The host cannot be reached: {detail}.",
}
_HOPELESS = frozenset({"forbidden_address", "invalid_url"})


def secret(horde: "Horde", request_id: UUID) -> str:
    """What the requester verifies the calls of a request with."""
    return rules.secret(horde.webhook_secret, request_id)


def check(horde: "Horde", url: str | None) -> None:
    """Raise Refusal BadRequest for a webhook that could never be called."""
    if url is None:
        return
    try:
        horde.webhook_fetcher.check_post(url)
    except FetchRefused as refused:
        given, why = url[:_SHOWN_CHARACTERS_MAX], refused.detail[:_SHOWN_CHARACTERS_MAX]
        raise Refusal("BadRequest", field="webhook", given=given, why=why) from None


async def log(horde: "Horde", request_id: UUID) -> list[LoggedCall]:
    """The calls of a request so far; they outlive it. Raises Refusal RequestNotFound."""
    calls = await webhooks.log(horde.statements, request_id)
    if not calls and await events.check(horde.statements, request_id) is None:
        raise Refusal("RequestNotFound", id=str(request_id))
    return calls


async def attempt(horde: "Horde", call: DueCall) -> None:
    """Make a call and note how it went."""
    outcome = await _post(horde, call)
    now = horde.clock.now()
    verdict = rules.judge(
        outcome, attempts=call.attempts, created_at=call.created_at, now=now, chance=random()
    )
    await webhooks.record(horde.statements, call, verdict, status=outcome.status, now=now)


async def _post(horde: "Horde", call: DueCall) -> Attempt:
    body = await _body(horde, call)
    headers = rules.signed_headers(secret(horde, call.request_id), call.id, horde.clock.now(), body)
    try:
        posted = await horde.webhook_fetcher.post(
            call.url, body, {"Content-Type": "application/json", **headers}
        )
    except FetchRefused as refused:
        error = _SENTENCES[refused.reason].format(detail=refused.detail)
        return Attempt(error=error[:_ERROR_CHARACTERS_MAX], hopeless=refused.reason in _HOPELESS)
    return Attempt(status=posted.status, retry_after=posted.retry_after)


async def _body(horde: "Horde", call: DueCall) -> bytes:
    told = await show_result(horde, call.kind, call.job, inline=call.inline_results)
    rest = {"request": str(call.request_id), "kudos": call.reward_milli / 1000}
    return msgspec.json.encode(msgspec.to_builtins(told) | rest)
