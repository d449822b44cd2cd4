# SPDX-License-Identifier: AGPL-3.0-or-later
"""Image work on the wire: what is asked for at a pop, what a job means, how a result is told."""

import random
from typing import Any

import msgspec

from openhorde.wire.requests import GenerationMetadata
from openhorde.wire.work import ImageJob, ImagePop, ImageSubmit, StepReport
from openhorde.worker.agent.api import HordeApi, agent_words
from openhorde.worker.agent.assignment import TTL_SECONDS_UNSAID, Assignment, Unfit
from openhorde.worker.agent.sources import fetch_source
from openhorde.worker.backends.base import (
    Adapter,
    Artifact,
    Capabilities,
    Embedding,
    Note,
    PictureJob,
)
from openhorde.worker.settings import WorkerSettings

POP_PATH = "generate/pop"
SUBMIT_PATH = "generate/submit"
PROGRESS_PATH = "generate/progress"
NOTES_MAX = 50
NOTE_CHARACTERS_MAX = 255
SEEDS = 2**32


def pop_body(settings: WorkerSettings, capabilities: Capabilities, resting: set[str]) -> ImagePop:
    """What to ask for: what the engine can do, narrowed by the settings and the resting models."""
    features = capabilities.features
    pixels_max = settings.pixels_max
    if capabilities.pixels_max is not None:
        pixels_max = min(pixels_max, capabilities.pixels_max)
    return ImagePop(
        name=settings.worker_name,
        models=[model for model in capabilities.models if model not in resting],
        bridge_agent=agent_words(settings),
        nsfw=settings.nsfw,
        threads=settings.max_threads,
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
        allow_post_processing=False,
        allow_lora=settings.allow_lora and "lora" in features,
        limit_max_steps=settings.limit_max_steps,
        wait=settings.pop_wait_seconds,
    )


def read_pop(answer: dict[str, Any]) -> Assignment | None:
    """The jobs in a pop's answer; None when there are none.

    A job that cannot be understood comes back without `wire`, so that it can be reported.
    """
    ids = answer.get("ids") or ([answer["id"]] if answer.get("id") else [])
    if not ids:
        return None
    uploads = answer.get("r2_uploads") or [answer.get("r2_upload")]
    ttl_seconds = answer.get("ttl")
    try:
        wire: ImageJob | None = msgspec.convert(_without_nulls(answer), ImageJob, strict=False)
        wrong = None
    except msgspec.ValidationError as error:
        wire, wrong = None, str(error)
    return Assignment(
        ids=[str(job_id) for job_id in ids],
        uploads=[uploads[index] if index < len(uploads) else None for index in range(len(ids))],
        model=str(answer.get("model") or ""),
        ttl_seconds=ttl_seconds if isinstance(ttl_seconds, int | float) else TTL_SECONDS_UNSAID,
        wire=wire,
        wrong=wrong,
    )


def described(assignment: Assignment) -> str:
    """What is to be drawn, in a few words for the owner. Never the prompt, which is private."""
    wire: ImageJob | None = assignment.wire
    if wire is None:
        return "a job that cannot be understood"
    payload = wire.payload
    what = wire.source_processing if wire.source_image else "text to image"
    return f"{what}, {payload.width}x{payload.height}, {payload.ddim_steps} steps"


async def prepare(api: HordeApi, settings: WorkerSettings, assignment: Assignment) -> PictureJob:
    """Fetch what the job needs and word it for an engine. Raises Unfit."""
    wire: ImageJob | None = assignment.wire
    if wire is None:
        raise Unfit(f"the job cannot be understood: {assignment.wrong}")
    if wire.source_processing == "remix" and wire.source_image:
        raise Unfit("remixing is not offered")
    payload = wire.payload
    source = mask = None
    if wire.source_image:
        source = await fetch_source(api, assignment, wire.source_image, "source_image")
        if wire.source_mask:
            mask = await fetch_source(api, assignment, wire.source_mask, "source_mask")
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
        loras=[Adapter(name=one.name, model=one.model, clip=one.clip) for one in payload.loras],
        embeddings=[
            Embedding(name=one.name, inject=one.inject_ti, strength=one.strength)
            for one in payload.tis
        ],
    )


def steps_body(job_id: str, step: int, steps: int) -> StepReport:
    """How it is told that a job is so many steps far."""
    steps = max(1, steps)
    return StepReport(id=job_id, step=min(step, steps), steps=steps)


def result_body(job_id: str, artifact: Artifact, generation: str, notes: list[Note]) -> ImageSubmit:
    """How a result is handed in: `generation` is "R2" or base64."""
    return ImageSubmit(
        id=job_id,
        generation=generation,
        seed=artifact.seed,
        state="censored" if artifact.censored else "ok",
        censored=artifact.censored,
        gen_metadata=_metadata([*notes, *artifact.notes]),
    )


def fault_body(job_id: str, reason: str, notes: list[Note]) -> ImageSubmit:
    """How a job is given back: with a seed, because the wire wants a number, and the reason."""
    told = Note(type="information", value="see_ref", ref=reason)
    return ImageSubmit(
        id=job_id,
        generation="faulted",
        seed=-1,
        state="faulted",
        gen_metadata=_metadata([*notes, told]),
    )


def _metadata(notes: list[Note]) -> list[GenerationMetadata]:
    return [
        GenerationMetadata(
            type=note.type,
            value=note.value,
            ref=note.ref[:NOTE_CHARACTERS_MAX] if note.ref is not None else None,
        )
        for note in notes[:NOTES_MAX]
    ]


def _seed(text: str | None) -> int:
    if not text:
        return random.randrange(SEEDS)
    try:
        return int(text) % SEEDS
    except ValueError:
        return int.from_bytes(text.encode(), "little") % SEEDS


def _without_nulls(value: Any) -> Any:
    """On this wire an explicit null counts as absent."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    return value
