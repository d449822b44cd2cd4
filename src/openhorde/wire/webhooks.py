# SPDX-License-Identifier: AGPL-3.0-or-later
"""Webhooks: what is posted to a client, and the log of how that went."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from openhorde.wire.requests import Generation


class WebhookBody(Generation, kw_only=True):
    """What a webhook is told of a finished job: `request` is the id of the request, `kudos` the
    reward of the worker."""

    request: str
    kudos: float


class WebhookCall(Struct, kw_only=True):
    """A call, or what is to become one. `id` is sent as `webhook-id` with each attempt.
    `next_try` is null unless it waits, `ended` while it does."""

    id: str
    job: str
    state: Literal["waiting", "delivered", "given_up"]
    attempts: int
    last_status: int | None
    last_error: str | None
    created: datetime
    next_try: datetime | None
    ended: datetime | None


class WebhookLog(Struct, kw_only=True):
    """Answer of `generate/webhooks/{id}`: the calls of a request, oldest first."""

    calls: list[WebhookCall]
