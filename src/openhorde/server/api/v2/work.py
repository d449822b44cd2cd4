# SPDX-License-Identifier: AGPL-3.0-or-later
"""Image work: workers pop jobs and submit results."""

import base64
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from openhorde.server.actions.pictures import BYTES_MAX, upload_key
from openhorde.server.actions.work import Popped
from openhorde.server.api.operations import (
    BODY_BYTES_MAX_PICTURES,
    BODY_BYTES_MAX_POP,
    Call,
    Operation,
    Who,
)
from openhorde.server.api.v2.lifecycle import (
    POP_REFUSALS,
    SUBMIT_REFUSALS,
    WORK_LIMITS,
    hand_out,
    take_result,
)
from openhorde.server.domain.bridges import wants_base64_sources
from openhorde.server.domain.kinds import image
from openhorde.server.domain.lives import LIVES_MAX
from openhorde.server.store.work import ClaimedJob
from openhorde.wire.image import ExtraSourceImage, ImagePayload
from openhorde.wire.requests import ImageRequest
from openhorde.wire.work import ImageJob, ImagePop, ImageSubmit, Rewarded, Skipped

UPLOAD_SECONDS_MIN = 1800


async def post_image_pop(call: Call) -> dict[str, Any]:
    """Give a worker the best image job it can do, at once or as long as it waits."""

    async def show(popped: Popped) -> dict[str, Any]:
        if not popped.jobs:
            return _shown(ImageJob(skipped=Skipped(**popped.skipped)))
        return await _job_shown(call, popped.jobs)

    return await hand_out(call, show)


async def _job_shown(call: Call, jobs: Sequence[ClaimedJob]) -> dict[str, Any]:
    first = jobs[0]
    request = msgspec.json.decode(first.body, type=ImageRequest)
    lifetime_seconds = max(UPLOAD_SECONDS_MIN, LIVES_MAX * first.ttl_seconds)
    uploads = [
        await call.horde.blobs.upload_url(
            upload_key(job.id), lifetime_seconds=lifetime_seconds, bytes_max=BYTES_MAX
        )
        for job in jobs
    ]
    answer = ImageJob(
        id=str(first.id),
        ids=[str(job.id) for job in jobs],
        model=first.model,
        payload=_payload(request, first, len(jobs)),
        source_processing=request.source_processing,
        r2_upload=uploads[0],
        r2_uploads=uploads,
        ttl=first.ttl_seconds,
    )
    if first.sources:
        await _add_sources(call, answer, first, lifetime_seconds)
    return _shown(answer)


def _shown(job: ImageJob) -> dict[str, Any]:
    """The job as it travels. Workers with the official SDK reject a payload that holds a null."""
    shown: dict[str, Any] = msgspec.to_builtins(job)
    shown["payload"] = {
        name: value for name, value in shown["payload"].items() if value is not None
    }
    return shown


def _payload(request: ImageRequest, job: ClaimedJob, amount: int) -> ImagePayload:
    if job.seed is None:
        seed = secrets.randbits(32)
    elif request.params.seed_variation:
        left = job.asked - job.ordinal + 1
        seed = image.job_seed(job.seed, request.params.seed_variation, left)
    else:
        seed = job.seed
    return image.payload(request, seed=seed, n_iter=amount)


async def _add_sources(
    call: Call, answer: ImageJob, job: ClaimedJob, lifetime_seconds: int
) -> None:
    """Link the source pictures, or put them into the answer for agents that can't follow a link.

    The old worker takes a link for a picture unless it says https.
    """
    inline = wants_base64_sources(call.body.bridge_agent)
    sources = job.sources or {}

    async def source(key: str) -> str:
        if inline:
            return base64.b64encode(await call.horde.blobs.get(key) or b"").decode()
        return await call.horde.blobs.download_url(key, lifetime_seconds=lifetime_seconds)

    if "image" in sources:
        answer.source_image = await source(sources["image"])
    if "mask" in sources:
        answer.source_mask = await source(sources["mask"])
    if sources["extra"]:
        answer.extra_source_images = [
            ExtraSourceImage(image=await source(key), strength=strength)
            for key, strength in sources["extra"]
        ]


OPERATIONS = (
    Operation(
        name="post_image_job_pop",
        method="POST",
        path="/api/v2/generate/pop",
        handler=post_image_pop,
        summary="A worker asks for an image job",
        tag="work",
        who=Who.USER,
        body=ImagePop,
        body_bytes_max=BODY_BYTES_MAX_POP,
        answer=ImageJob,
        limits=WORK_LIMITS,
        refusals=(*POP_REFUSALS, "BadRequest"),
    ),
    Operation(
        name="post_image_job_submit",
        method="POST",
        path="/api/v2/generate/submit",
        handler=take_result,
        summary="A worker hands in a picture",
        tag="work",
        who=Who.USER,
        body=ImageSubmit,
        answer=Rewarded,
        limits=WORK_LIMITS,
        refusals=(*SUBMIT_REFUSALS, "ImageValidationFailed"),
        body_bytes_max=BODY_BYTES_MAX_PICTURES,
    ),
)
