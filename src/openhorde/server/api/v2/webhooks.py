# SPDX-License-Identifier: AGPL-3.0-or-later
"""The log of a request's webhook."""

from openhorde.server.actions import webhooks
from openhorde.server.api.operations import Bucket, Call, Limit, Operation, uuid_of
from openhorde.server.store.webhooks import LoggedCall
from openhorde.wire.webhooks import WebhookCall, WebhookLog


async def get_webhook_log(call: Call) -> WebhookLog:
    """How the calls of a request's webhook went."""
    request_id = uuid_of(call.path["id"], "RequestNotFound")
    return WebhookLog(
        calls=[_shown(logged) for logged in await webhooks.log(call.horde, request_id)]
    )


def _shown(logged: LoggedCall) -> WebhookCall:
    return WebhookCall(
        id=str(logged.id),
        job=str(logged.job_id),
        state=logged.state,
        attempts=logged.attempts,
        last_status=logged.last_status,
        last_error=logged.last_error,
        created=logged.created_at,
        next_try=logged.due_at,
        ended=logged.ended_at,
    )


OPERATIONS = (
    Operation(
        name="get_webhook_log",
        method="GET",
        path="/api/v2/generate/webhooks/{id}",
        handler=get_webhook_log,
        summary="How the calls of a request's webhook went",
        tag="generate",
        answer=WebhookLog,
        limits=(Limit("90/minute", Bucket.ADDRESS),),
        refusals=("RequestNotFound",),
    ),
)
