# SPDX-License-Identifier: AGPL-3.0-or-later
"""Image work on the wire: what is asked for at a pop, what a job means, how a result is told."""

import base64
import random
from typing import Any

from openhorde.wire.image import Lora
from openhorde.wire.work import ImageJob, ImagePop, ImageSubmit, ResultState
from openhorde.worker.agent.adapters import fetch_adapters
from openhorde.worker.agent.api import bridge_agent
from openhorde.worker.agent.assignment import TTL_SECONDS_UNSAID, Assignment, Unfit
from openhorde.worker.agent.kinds.base import (
    UPLOADED,
    Offer,
    decoded,
    fault_metadata,
    metadata,
    names_left,
    read_ids,
    seconds_or,
    upload_url,
)
from openhorde.worker.agent.sources import Sources
from openhorde.worker.backends.base import (
    Adapter,
    Artifact,
    Capabilities,
    Embedding,
    JobFault,
    Note,
    PictureJob,
    information,
)
from openhorde.worker.settings import WorkerSettings

POP_PATH = "generate/pop"
SUBMIT_PATH = "generate/submit"
SEEDS = 2**32
ENGINES_MAX = 50


def offered(capabilities: Capabilities) -> list[str]:
    """See Kind.offered."""
    return capabilities.models


def wanted(settings: WorkerSettings, names: list[str]) -> list[str]:
    """See Kind.wanted."""
    return [name for name in names if name not in settings.models_to_skip]


def pop_body(settings: WorkerSettings, offer: Offer) -> ImagePop:
    """See Kind.pop_body. A pop brings one job, however many engines are free."""
    capabilities = offer.capabilities
    features = capabilities.features
    pixels_max = settings.pixels_max
    if capabilities.pixels_max is not None:
        pixels_max = min(pixels_max, capabilities.pixels_max)
    controlnet = settings.allow_controlnet and "controlnet" in features
    return ImagePop(
        name=offer.name,
        models=[*names_left(wanted(settings, capabilities.models), offer), *offer.stand_ins],
        stand_ins=list(offer.stand_ins),
        bridge_agent=bridge_agent(settings),
        nsfw=settings.nsfw,
        threads=max(1, min(offer.engines, ENGINES_MAX)),
        amount=settings.max_batch,
        priority_usernames=settings.priority_usernames,
        require_upfront_kudos=settings.require_upfront_kudos,
        extra_slow_worker=settings.extra_slow_worker,
        max_pixels=pixels_max,
        blacklist=settings.blacklist,
        allow_img2img=settings.allow_img2img and "img2img" in features,
        allow_painting=settings.allow_painting and "inpainting" in features,
        allow_unsafe_ipaddr=settings.allow_unsafe_ip,
        allow_unsafe_ip=settings.allow_unsafe_ip,
        allow_post_processing=settings.allow_post_processing and "post_processing" in features,
        allow_controlnet=controlnet,
        allow_sdxl_controlnet=controlnet and settings.allow_sdxl_controlnet,
        control_types=capabilities.control_types,
        post_processors=capabilities.post_processors,
        allow_lora=settings.allow_lora and "lora" in features,
        limit_max_steps=settings.limit_max_steps,
        wait=settings.pop_wait_seconds,
    )


def read_pop(answer: dict[str, Any]) -> list[Assignment]:
    """See Kind.read_pop. All jobs of an answer are drawn together."""
    ids = read_ids(answer)
    if not ids:
        return []
    uploads = answer.get("r2_uploads") or [answer.get("r2_upload")]
    if not isinstance(uploads, list):
        uploads = []
    wire, wrong = decoded(answer, ImageJob)
    assignment = Assignment(
        kind="image",
        ids=ids,
        uploads=[upload_url(uploads[at]) if at < len(uploads) else None for at in range(len(ids))],
        model=str(answer.get("model") or ""),
        ttl_seconds=seconds_or(answer.get("ttl"), TTL_SECONDS_UNSAID),
        wire=wire,
        wrong=wrong,
    )
    return [assignment]


def described(assignment: Assignment) -> str:
    """See Kind.described."""
    wire: ImageJob | None = assignment.wire
    if wire is None:
        return "a job that cannot be understood"
    payload = wire.payload
    what = wire.source_processing if wire.source_image else "text to image"
    return f"{what}, {payload.width}x{payload.height}, {payload.ddim_steps} steps"


async def prepare(sources: Sources, settings: WorkerSettings, assignment: Assignment) -> PictureJob:
    """See Kind.prepare."""
    wire: ImageJob | None = assignment.wire
    if wire is None:
        raise Unfit(f"the job cannot be understood: {assignment.wrong}")
    if wire.source_processing == "remix" and wire.source_image:
        if wire.extra_source_images:
            raise Unfit("remixing of several pictures is not offered")
        assignment.notes.append(information("a remix of one picture is drawn as img2img here"))
    payload = wire.payload
    source = mask = None
    if wire.source_image:
        source = await sources.fetch(assignment, wire.source_image, "source_image")
        if wire.source_mask:
            mask = await sources.fetch(assignment, wire.source_mask, "source_mask")
    await fetch_adapters(settings, assignment, payload)
    prompt, _, negative = (payload.prompt or "").partition("###")
    repaint = wire.source_processing in ("inpainting", "outpainting") or mask is not None
    strength = payload.denoising_strength
    hires_strength = payload.hires_fix_denoising_strength or strength
    return PictureJob(
        id=assignment.ids[0],
        model=assignment.model,
        prompt=prompt.strip(),
        negative_prompt=negative.strip(),
        width_pixels=payload.width,
        height_pixels=payload.height,
        steps=max(1, payload.ddim_steps),
        sampler=payload.sampler_name,
        karras=payload.karras,
        cfg_scale=payload.cfg_scale,
        seeds=[(_seed(payload.seed) + index) % SEEDS for index in range(len(assignment.ids))],
        clip_skip=payload.clip_skip or 1,
        tiling=payload.tiling,
        hires_fix=payload.hires_fix,
        hires_fix_strength=hires_strength or 0.65,
        denoising_strength=strength or (1.0 if repaint else 0.75),
        source=source,
        mask=mask,
        repaint=repaint,
        censor=bool(payload.use_nsfw_censor) or (settings.censor_nsfw and not settings.nsfw),
        loras=[_adapter(one) for one in payload.loras],
        embeddings=[
            Embedding(name=one.name, inject=one.inject_ti, strength=one.strength)
            for one in payload.tis
        ],
        control_type=payload.control_type,
        control_strength=strength or 1.0,
        image_is_control=payload.image_is_control,
        return_control_map=payload.return_control_map,
        post_processing=list(payload.post_processing),
        facefixer_strength=payload.facefixer_strength,
    )


def _adapter(lora: Lora) -> Adapter:
    return Adapter(
        name=lora.name,
        model=lora.model,
        clip=lora.clip,
        is_version=lora.is_version,
        trigger=lora.inject_trigger,
    )


def uploads(assignment: Assignment, artifact: Artifact) -> bool:
    """See Kind.uploads."""
    if not artifact.media_type.startswith("image/") or not artifact.content:
        raise JobFault("the engine made no picture")
    return True


def result_body(
    assignment: Assignment, index: int, artifact: Artifact, uploaded: bool
) -> ImageSubmit:
    """See Kind.result_body. Without an upload the picture itself travels."""
    notes = list(assignment.notes)
    if len(assignment.ids) > 1:
        notes.append(Note(type="batch_index", value="see_ref", ref=str(index)))
    return ImageSubmit(
        id=assignment.ids[index],
        generation=UPLOADED if uploaded else base64.b64encode(artifact.content).decode(),
        seed=artifact.seed,
        state=_state(artifact),
        censored=artifact.censored,
        gen_metadata=metadata([*notes, *artifact.notes]),
    )


def _state(artifact: Artifact) -> ResultState:
    if not artifact.censored:
        return "ok"
    return "csam" if any(note.value == "csam" for note in artifact.notes) else "censored"


def fault_body(job_id: str, reason: str, notes: list[Note]) -> ImageSubmit:
    """See Kind.fault_body. With a seed, because the wire wants a number."""
    return ImageSubmit(
        id=job_id,
        generation="faulted",
        seed=-1,
        state="faulted",
        gen_metadata=fault_metadata(reason, notes),
    )


def _seed(text: str | None) -> int:
    if not text:
        return random.randrange(SEEDS)
    try:
        return int(text) % SEEDS
    except ValueError:
        return int.from_bytes(text.encode(), "little") % SEEDS
