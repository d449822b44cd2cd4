# SPDX-License-Identifier: AGPL-3.0-or-later
"""Alchemy: forms are asked of a picture; workers pop them and submit what comes of them."""

from typing import Any

import msgspec

from openhorde.server.actions import requests
from openhorde.server.actions.pictures import BYTES_MAX, upload_key
from openhorde.server.actions.requests import Priced
from openhorde.server.actions.work import Popped
from openhorde.server.api.operations import (
    BODY_BYTES_MAX_PICTURES,
    BODY_BYTES_MAX_PICTURES_ANONYMOUS,
    BODY_BYTES_MAX_POP,
    Answer,
    Bucket,
    Call,
    Limit,
    Operation,
    Who,
)
from openhorde.server.api.v2.alchemy_shown import alchemy_shown
from openhorde.server.api.v2.lifecycle import (
    POP_REFUSALS,
    SUBMIT_REFUSALS,
    WORK_LIMITS,
    ask,
    hand_out,
    request_id,
    take_result,
)
from openhorde.server.api.v2.requests_shown import outlook_shown
from openhorde.server.domain.kinds.alchemy import NAME, PICTURE_FORMS
from openhorde.server.domain.lives import LIVES_MAX
from openhorde.server.store.work import ClaimedJob
from openhorde.wire.alchemy import (
    AlchemyPop,
    AlchemyPriced,
    AlchemyQueued,
    AlchemyRequest,
    AlchemyStatus,
    FormsSkipped,
    FormSubmit,
    PoppedForm,
    PoppedForms,
)
from openhorde.wire.requests import PriceLine
from openhorde.wire.work import Rewarded

UPLOAD_SECONDS = 1800


async def post_alchemy_request(call: Call) -> Answer:
    """Queue forms, or only price them when it is a dry run."""
    outcome = await ask(call)
    if isinstance(outcome, Priced):
        lines = [PriceLine(label=line.label, kudos=line.milli / 1000) for line in outcome.lines]
        priced = AlchemyPriced(
            kudos=outcome.kudos_milli / 1000, lines=lines, **outlook_shown(outcome.outlook)
        )
        if not outcome.outlook.is_possible:
            priced.message = outcome.outlook.sentence
        return Answer(priced, status=200)
    queued = AlchemyQueued(
        id=str(outcome.request_id),
        kudos=outcome.total_milli / 1000,
        message=outcome.message,
        webhook_secret=outcome.webhook_secret,
        **outlook_shown(outcome.outlook),
    )
    return Answer(queued, status=202)


async def get_alchemy_status(call: Call) -> AlchemyStatus:
    """How far each form is, with what came of it."""
    return await alchemy_shown(call.horde, *await requests.read(call.horde, request_id(call), NAME))


async def delete_alchemy_status(call: Call) -> AlchemyStatus:
    """Cancel the forms that are not done; answers how they are now."""
    await requests.cancel(call.horde, request_id(call), NAME)
    return await get_alchemy_status(call)


async def post_alchemy_pop(call: Call) -> PoppedForms:
    """Give a worker the best forms it can do, at once or as long as it waits."""

    async def show(popped: Popped) -> PoppedForms:
        if not popped.jobs:
            return PoppedForms(skipped=FormsSkipped(**popped.skipped))
        return PoppedForms(forms=[await _form_shown(call, job) for job in popped.jobs])

    return await hand_out(call, show)


async def _form_shown(call: Call, job: ClaimedJob) -> PoppedForm:
    asked = msgspec.json.decode(job.body, type=AlchemyRequest).forms[job.ordinal - 1]
    lifetime_seconds = max(UPLOAD_SECONDS, LIVES_MAX * job.ttl_seconds)
    shown = PoppedForm(
        id=str(job.id),
        form=job.model,
        source_image=await _source(call, job.sources or {}, lifetime_seconds),
        payload=asked.payload,
        ttl=job.ttl_seconds,
    )
    if job.model in PICTURE_FORMS:
        shown.r2_upload = await call.horde.blobs.upload_url(
            upload_key(job.id), lifetime_seconds=lifetime_seconds, bytes_max=BYTES_MAX
        )
    return shown


async def _source(call: Call, sources: dict[str, Any], lifetime_seconds: int) -> str:
    """The link that the client gave, or one to where the picture is kept.

    Never base64: old alchemists send a GET to whatever stands here, by plain http too.
    """
    link: str | None = sources.get("links", {}).get("image")
    if link is not None:
        return link
    return await call.horde.blobs.download_url(sources["image"], lifetime_seconds=lifetime_seconds)


_STATUS_LIMITS = (Limit("10/second", Bucket.ADDRESS_AND_PATH),)

OPERATIONS = (
    Operation(
        name="post_interrogate",
        method="POST",
        path="/api/v2/interrogate/async",
        handler=post_alchemy_request,
        summary="Queue forms of alchemy for a picture; with dry_run only price them",
        tag="interrogate",
        who=Who.USER,
        body=AlchemyRequest,
        answer=AlchemyQueued,
        status=202,
        answers={200: AlchemyPriced},
        refusals=(
            "InvalidAPIKey",
            "BadRequest",
            "DeletedUser",
            "TooManyPrompts",
            "ImageValidationFailed",
            "SourceStorageFull",
            "SourceImageSizeExceeded",
            "SourceImageResolutionExceeded",
            "SourceImageUrlInvalid",
        ),
        body_bytes_max=BODY_BYTES_MAX_PICTURES,
        body_bytes_max_anonymous=BODY_BYTES_MAX_PICTURES_ANONYMOUS,
    ),
    Operation(
        name="get_interrogation_status",
        method="GET",
        path="/api/v2/interrogate/status/{id}",
        handler=get_alchemy_status,
        summary="How far each form of an alchemy request is, and what came of it",
        tag="interrogate",
        answer=AlchemyStatus,
        limits=_STATUS_LIMITS,
        refusals=("RequestNotFound",),
    ),
    Operation(
        name="delete_interrogation_status",
        method="DELETE",
        path="/api/v2/interrogate/status/{id}",
        handler=delete_alchemy_status,
        summary="Cancel what is left of an alchemy request",
        tag="interrogate",
        answer=AlchemyStatus,
        limits=_STATUS_LIMITS,
        refusals=("RequestNotFound",),
    ),
    Operation(
        name="post_interrogate_pop",
        method="POST",
        path="/api/v2/interrogate/pop",
        handler=post_alchemy_pop,
        summary="A worker asks for forms of alchemy",
        tag="work",
        who=Who.USER,
        body=AlchemyPop,
        body_bytes_max=BODY_BYTES_MAX_POP,
        answer=PoppedForms,
        limits=WORK_LIMITS,
        refusals=(*POP_REFUSALS, "PolymorphicNameConflict"),
    ),
    Operation(
        name="post_interrogate_submit",
        method="POST",
        path="/api/v2/interrogate/submit",
        handler=take_result,
        summary="A worker hands in what came of a form",
        tag="work",
        who=Who.USER,
        body=FormSubmit,
        answer=Rewarded,
        limits=WORK_LIMITS,
        refusals=(*SUBMIT_REFUSALS, "BadRequest", "ImageValidationFailed"),
        body_bytes_max=BODY_BYTES_MAX_PICTURES,
    ),
)
