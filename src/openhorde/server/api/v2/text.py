# SPDX-License-Identifier: AGPL-3.0-or-later
"""Text: asked for, read and cancelled; workers pop jobs and submit what they wrote."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from openhorde.server.actions import requests, waiting, work
from openhorde.server.actions.requests import Client, Priced
from openhorde.server.actions.work import Delivery
from openhorde.server.api.operations import (
    BODY_BYTES_MAX_TEXTS,
    Answer,
    Bucket,
    Call,
    Limit,
    Operation,
    Who,
    uuid_of,
)
from openhorde.server.api.v2.requests_shown import priced_shown, queued_shown, text_status_shown
from openhorde.server.domain.kinds import text
from openhorde.server.store.work import ClaimedJob
from openhorde.wire.requests import RequestPriced, RequestQueued
from openhorde.wire.text import TextJob, TextPop, TextRequest, TextsSkipped, TextStatus, TextSubmit
from openhorde.wire.work import Rewarded


async def post_text_request(call: Call) -> Answer:
    """Queue a text request, or only price it when it is a dry run."""
    client = Client(agent=call.client_agent, address=call.client_address)
    outcome = await requests.submit(call.horde, call.caller, call.body, client)
    if isinstance(outcome, Priced):
        return Answer(priced_shown(outcome), status=200)
    return Answer(queued_shown(outcome, outcome.total_milli), status=202)


async def get_text_status(call: Call) -> TextStatus:
    """How far a text request is, with its texts."""
    return await text_status_shown(
        call.horde, *await requests.read(call.horde, _request_id(call), text.NAME)
    )


async def delete_text_status(call: Call) -> TextStatus:
    """Cancel what is left of a text request; answers how it stood before."""
    return await text_status_shown(
        call.horde, *await requests.cancel(call.horde, _request_id(call), text.NAME)
    )


async def post_text_pop(call: Call) -> dict[str, Any]:
    """Give a worker the best text job it can do, at once or as long as it waits."""
    popped = await waiting.pop(
        call.horde, call.caller, call.body, call.client_address, call.hung_up
    )
    if not popped.jobs:
        return _shown(TextJob(skipped=TextsSkipped(**popped.skipped)))
    return _shown(_job(popped.jobs))


async def post_text_submit(call: Call) -> Rewarded:
    """Take what a worker wrote."""
    said: TextSubmit = call.body
    delivery = Delivery(
        job_id=uuid_of(said.id, "InvalidJobID"),
        faulted=said.state == "faulted",
        submit=said,
        metadata=msgspec.to_builtins(said.gen_metadata),
    )
    return Rewarded(reward=await work.deliver(call.horde, call.caller, delivery) / 1000)


def _request_id(call: Call) -> UUID:
    return uuid_of(call.path["id"], "RequestNotFound")


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
_WORK_LIMITS = (Limit("60/second"),)

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
        limits=(
            Limit("90/minute", Bucket.ADDRESS_AND_PATH, rate_welcome="300/minute"),
            Limit("2/second", Bucket.ADDRESS_AND_PATH, rate_welcome="10/second"),
            Limit(
                "2/second",
                Bucket.KEY_AND_PATH,
                rate_anonymous="60/second",
                rate_welcome="60/second",
            ),
        ),
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
        answer=TextJob,
        limits=_WORK_LIMITS,
        refusals=(
            "InvalidAPIKey",
            "AnonForbiddenWorker",
            "WorkerMaintenance",
            "WrongCredentials",
            "BadRequest",
        ),
    ),
    Operation(
        name="post_text_job_submit",
        method="POST",
        path="/api/v2/generate/text/submit",
        handler=post_text_submit,
        summary="A worker hands in a text",
        tag="work",
        who=Who.USER,
        body=TextSubmit,
        answer=Rewarded,
        limits=_WORK_LIMITS,
        refusals=(
            "InvalidAPIKey",
            "InvalidJobID",
            "WrongCredentials",
            "DuplicateGen",
            "AbortedGen",
            "TooLong",
        ),
        body_bytes_max=BODY_BYTES_MAX_TEXTS,
    ),
)
