# SPDX-License-Identifier: AGPL-3.0-or-later
"""Image requests: asked for, checked, read and cancelled."""

from typing import Any

from openhorde.server.actions import requests
from openhorde.server.actions.requests import Priced
from openhorde.server.api.operations import (
    BODY_BYTES_MAX_PICTURES,
    BODY_BYTES_MAX_PICTURES_ANONYMOUS,
    Answer,
    Bucket,
    Call,
    Limit,
    Operation,
    Who,
)
from openhorde.server.api.push.checks import CheckQuery, held_check
from openhorde.server.api.v2.lifecycle import ASK_LIMITS, ask, request_id
from openhorde.server.api.v2.requests_shown import (
    check_shown,
    heard,
    priced_shown,
    queued_shown,
    status_shown,
)
from openhorde.server.domain.kinds.image import NAME
from openhorde.wire.requests import (
    ImageRequest,
    RequestCheck,
    RequestPriced,
    RequestQueued,
    RequestStatus,
)


async def post_image_request(call: Call) -> Answer:
    """Queue an image request, or only price it when it is a dry run."""
    outcome = await ask(call)
    if isinstance(outcome, Priced):
        return Answer(priced_shown(outcome), status=200)
    return Answer(queued_shown(outcome, outcome.kudos_milli), status=202)


async def get_image_check(call: Call) -> RequestCheck | Answer:
    """How far a request of any kind is, without results; with `wait`, as soon as that changes."""
    query: CheckQuery = call.query
    if query.wait is not None or query.since is not None:
        return await held_check(call, query)
    return check_shown(await requests.check(call.horde, request_id(call)))


async def get_image_status(call: Call) -> dict[str, Any]:
    """How far an image request is, with its pictures."""
    found = await requests.read(call.horde, request_id(call), NAME)
    return heard(call, await status_shown(call.horde, *found))


async def delete_image_status(call: Call) -> dict[str, Any]:
    """Cancel what is left of an image request; answers how it stood before."""
    found = await requests.cancel(call.horde, request_id(call), NAME)
    return heard(call, await status_shown(call.horde, *found))


_STATUS_LIMITS = (Limit("10/minute", Bucket.ADDRESS_AND_PATH),)

OPERATIONS = (
    Operation(
        name="post_image_async_generate",
        method="POST",
        path="/api/v2/generate/async",
        handler=post_image_request,
        summary="Queue an image request; with dry_run only price it",
        tag="generate",
        who=Who.USER,
        body=ImageRequest,
        answer=RequestQueued,
        status=202,
        answers={200: RequestPriced},
        limits=ASK_LIMITS,
        welcomes=True,
        refusals=(
            "InvalidAPIKey",
            "MissingPrompt",
            "KudosUpfront",
            "TooManyPrompts",
            "WorkerNotFound",
            "ImageValidationFailed",
            "SourceStorageFull",
            "SourceImageSizeExceeded",
            "SourceImageResolutionExceeded",
        ),
        body_bytes_max=BODY_BYTES_MAX_PICTURES,
        body_bytes_max_anonymous=BODY_BYTES_MAX_PICTURES_ANONYMOUS,
    ),
    Operation(
        name="get_image_async_check",
        method="GET",
        path="/api/v2/generate/check/{id}",
        handler=get_image_check,
        summary="How far a request of any kind is, without its results",
        tag="generate",
        query=CheckQuery,
        answer=RequestCheck,
        limits=(Limit("10/second", Bucket.ADDRESS_AND_PATH),),
        refusals=("RequestNotFound",),
    ),
    Operation(
        name="get_image_async_status",
        method="GET",
        path="/api/v2/generate/status/{id}",
        handler=get_image_status,
        summary="How far an image request is, with its pictures",
        tag="generate",
        answer=RequestStatus,
        limits=_STATUS_LIMITS,
        refusals=("RequestNotFound",),
    ),
    Operation(
        name="delete_image_async_status",
        method="DELETE",
        path="/api/v2/generate/status/{id}",
        handler=delete_image_status,
        summary="Cancel what is left of an image request",
        tag="generate",
        answer=RequestStatus,
        limits=_STATUS_LIMITS,
        refusals=("RequestNotFound",),
    ),
)
