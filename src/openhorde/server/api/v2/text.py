# SPDX-License-Identifier: AGPL-3.0-or-later
"""Text: asked for, read and cancelled; workers pop jobs and submit what they wrote."""

from collections.abc import Sequence
from typing import Any

import msgspec

from openhorde.server.actions import requests
from openhorde.server.actions.requests import Priced
from openhorde.server.actions.work import Popped
from openhorde.server.api.operations import (
    BODY_BYTES_MAX_POP,
    BODY_BYTES_MAX_TEXTS,
    BODY_BYTES_MAX_TEXTS_ANONYMOUS,
    Answer,
    Bucket,
    Call,
    Limit,
    Operation,
    Who,
)
from openhorde.server.api.v2.lifecycle import (
    ASK_LIMITS,
    POP_REFUSALS,
    SUBMIT_REFUSALS,
    WORK_LIMITS,
    ask,
    hand_out,
    request_id,
    take_result,
)
from openhorde.server.api.v2.requests_shown import (
    heard,
    priced_shown,
    queued_shown,
    text_status_shown,
)
from openhorde.server.domain.kinds import text
from openhorde.server.store.work import ClaimedJob
from openhorde.wire.requests import RequestPriced, RequestQueued
from openhorde.wire.text import TextJob, TextPop, TextRequest, TextsSkipped, TextStatus, TextSubmit
from openhorde.wire.work import Rewarded


async def post_text_request(call: Call) -> Answer:
    """Queue a text request, or only price it when it is a dry run."""
    outcome = await ask(call)
    if isinstance(outcome, Priced):
        return Answer(priced_shown(outcome), status=200)
    return Answer(queued_shown(outcome, outcome.total_milli), status=202)


async def get_text_status(call: Call) -> dict[str, Any]:
    """How far a text request is, with its texts."""
    found = await requests.read(call.horde, request_id(call), text.NAME)
    return heard(call, await text_status_shown(call.horde, *found))


async def delete_text_status(call: Call) -> dict[str, Any]:
    """Cancel what is left of a text request; answers how it stood before."""
    found = await requests.cancel(call.horde, request_id(call), text.NAME)
    return heard(call, await text_status_shown(call.horde, *found))


async def post_text_pop(call: Call) -> dict[str, Any]:
    """Give a worker the best text job it can do, at once or as long as it waits."""
    return await hand_out(call, _popped_shown)


async def _popped_shown(popped: Popped) -> dict[str, Any]:
    if not popped.jobs:
        return _shown(TextJob(skipped=TextsSkipped(**popped.skipped)))
    return _shown(_job(popped.jobs))


def _job(jobs: Sequence[ClaimedJob]) -> TextJob:
    first = jobs[0]
    request = msgspec.json.decode(first.body, type=TextRequest)
    return TextJob(
        id=str(first.id),
        ids=[str(job.id) for job in jobs],
        model=first.model,
        payload=text.payload(request),
        softprompt=request.softprompt,
        ttl=first.ttl_seconds,
    )


def _shown(job: TextJob) -> dict[str, Any]:
    """The job as it travels. Engines take a parameter that is not there for their own default, and
    stumble over a null."""
    shown: dict[str, Any] = msgspec.to_builtins(job)
    shown["payload"] = {
        name: value for name, value in shown["payload"].items() if value is not None
    }
    return shown


_STATUS_LIMITS = (Limit("60/minute", Bucket.ADDRESS_AND_PATH),)

OPERATIONS = (
    Operation(
        name="post_text_async_generate",
        method="POST",
        path="/api/v2/generate/text/async",
        handler=post_text_request,
        summary="Queue a text request; with dry_run only price it",
        tag="generate",
        who=Who.USER,
        body=TextRequest,
        answer=RequestQueued,
        status=202,
        answers={200: RequestPriced},
        limits=ASK_LIMITS,
        welcomes=True,
        refusals=(
            "InvalidAPIKey",
            "MissingPrompt",
            "TokenOverflow",
            "MissingFullSamplerOrder",
            "TooManyStopSequences",
            "ExcessiveStopSequence",
            "KudosUpfront",
            "TooManyPrompts",
            "WorkerNotFound",
        ),
        body_bytes_max=BODY_BYTES_MAX_TEXTS,
        body_bytes_max_anonymous=BODY_BYTES_MAX_TEXTS_ANONYMOUS,
    ),
    Operation(
        name="get_text_async_status",
        method="GET",
        path="/api/v2/generate/text/status/{id}",
        handler=get_text_status,
        summary="How far a text request is, with its texts",
        tag="generate",
        answer=TextStatus,
        limits=_STATUS_LIMITS,
        refusals=("RequestNotFound",),
    ),
    Operation(
        name="delete_text_async_status",
        method="DELETE",
        path="/api/v2/generate/text/status/{id}",
        handler=delete_text_status,
        summary="Cancel what is left of a text request",
        tag="generate",
        answer=TextStatus,
        limits=_STATUS_LIMITS,
        refusals=("RequestNotFound",),
    ),
    Operation(
        name="post_text_job_pop",
        method="POST",
        path="/api/v2/generate/text/pop",
        handler=post_text_pop,
        summary="A worker asks for a text job",
        tag="work",
        who=Who.USER,
        body=TextPop,
        body_bytes_max=BODY_BYTES_MAX_POP,
        answer=TextJob,
        limits=WORK_LIMITS,
        refusals=(*POP_REFUSALS, "BadRequest"),
    ),
    Operation(
        name="post_text_job_submit",
        method="POST",
        path="/api/v2/generate/text/submit",
        handler=take_result,
        summary="A worker hands in a text",
        tag="work",
        who=Who.USER,
        body=TextSubmit,
        answer=Rewarded,
        limits=WORK_LIMITS,
        refusals=(*SUBMIT_REFUSALS, "TooLong"),
        body_bytes_max=BODY_BYTES_MAX_TEXTS,
    ),
)
