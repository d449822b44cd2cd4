# SPDX-License-Identifier: AGPL-3.0-or-later
"""Image work: what a request needs, what a worker offers, what a job carries."""

from collections.abc import Callable, Sequence
from typing import Final

from openhorde.server.domain.bridges import (
    INPAINTS_WITH_ANY_MODEL,
    Capabilities,
    capabilities,
)
from openhorde.server.domain.kinds.image_rules import (
    PAINTING,
    check,
    check_features,
    check_mask,
    check_request,
    normalised,
)
from openhorde.server.domain.kinds.image_work import (
    Size,
    accurate_steps,
    base_seed,
    job_seed,
    request_steps,
    size,
    steps,
    ttl_seconds,
)
from openhorde.server.domain.needs import (
    CONTROL_TYPES,
    POST_PROCESSORS,
    SAMPLERS,
    Needs,
    Offer,
    allows_unsafe_ip,
    control_word,
    post_processor_word,
    sampler_word,
)
from openhorde.server.domain.reference import Reference, is_special
from openhorde.server.domain.requester import Requester, can_pay_in_advance
from openhorde.wire.image import ImagePayload, ImageStyleParams
from openhorde.wire.requests import ImageRequest
from openhorde.wire.work import ImagePop

__all__ = [
    "DIVISOR",
    "NAME",
    "PAINTING",
    "Size",
    "accurate_steps",
    "base_seed",
    "check",
    "check_features",
    "check_mask",
    "check_request",
    "job_seed",
    "needs",
    "normalised",
    "offer",
    "payload",
    "request_steps",
    "sharing",
    "size",
    "steps",
    "ttl_seconds",
    "uptime_reward_milli",
]

NAME: Final = "image"
DIVISOR: Final = 1_000_000
"""Things (pixelsteps) in the unit that is shown (megapixelsteps)."""

FAST_THINGS_PER_SECOND: Final = 500_000
MIN_STEPS_DEFAULT: Final = 20
MAX_STEPS_DEFAULT: Final = 40


def needs(
    request: ImageRequest,
    requester: Requester,
    reference: Reference,
    *,
    price_each_milli: int,
    unsafe_ip: bool = False,
) -> Needs:
    """What a checked request needs of a worker. `price_each_milli` is the price of one job."""
    params = request.params
    baselines = {reference.baseline(name) for name in request.models}
    untrusted_from_unsafe_ip = unsafe_ip and not requester.trusted
    words = {
        "nsfw": request.nsfw,
        "trusted": request.trusted_workers or untrusted_from_unsafe_ip,
        "any_model": not request.models,
        "fast": not request.slow_workers,
        "brisk": not request.extra_slow_workers,
        "generous": not can_pay_in_advance(requester, price_each_milli),
        "many_steps": request_steps(request) > comfortable_steps(request.models, reference),
        "unsafe_ip": unsafe_ip,
        "r2": request.r2,
        "flux": not request.models or "flux_1" in baselines,
        "lora": bool(params.loras),
        "lora_versions": any(lora.is_version for lora in params.loras),
        "textual_inversion": bool(params.tis),
        "post_processing": bool(params.post_processing),
        "controlnet": params.control_type is not None,
        "image_is_control": params.control_type is not None and params.image_is_control,
        "return_control_map": params.return_control_map,
        "qr_code": params.workflow == "qr_code",
        "sdxl_controlnet": params.workflow == "qr_code",
        "transparent": params.transparent,
        "tiling": params.tiling,
        "hires_fix": params.hires_fix,
        "stable_cascade_2pass": params.hires_fix,
        "clip_skip": (params.clip_skip or 1) > 1,
        sampler_word(params.sampler_name, karras=params.karras): True,
        **_source_words(request),
        **{post_processor_word(name): True for name in params.post_processing},
        **({control_word(params.control_type): True} if params.control_type is not None else {}),
    }
    return Needs(
        kind=NAME,
        words=tuple(sorted(word for word, needed in words.items() if needed)),
        sizes=(("pixels", params.width * params.height),),
        models=tuple(sorted(set(request.models))),
        workers=tuple(sorted(set(request.workers))),
        workers_excluded=request.worker_blacklist and bool(request.workers),
    )


def offer(
    pop: ImagePop,
    *,
    worker_id: str,
    models: Sequence[str],
    trusted_owner: bool,
    speed_things_per_second: float,
    reference: Reference,
) -> Offer:
    """What a worker offers at this check-in. `models` are the accepted ones (rules 1.3)."""
    able = capabilities(pop.bridge_agent)
    agent = _agent_words(able, models, reference)
    allowed = {
        "nsfw": pop.nsfw,
        "trusted": trusted_owner,
        "img2img": pop.allow_img2img,
        "painting": pop.allow_painting,
        "inpainting_model": INPAINTS_WITH_ANY_MODEL in able.words
        or any(reference.facts(name).inpainting for name in models),
        "ordinary_model": any(not reference.facts(name).inpainting for name in models),
        "any_model": not any(map(is_special, models)),
        "fast": speed_things_per_second >= FAST_THINGS_PER_SECOND,
        "brisk": not pop.extra_slow_worker,
        "lora": pop.allow_lora,
        "post_processing": pop.allow_post_processing,
        "controlnet": pop.allow_controlnet,
        "sdxl_controlnet": pop.allow_sdxl_controlnet
        or not _serves(models, reference, "stable_diffusion_xl"),
        "transparent": pop.allow_sdxl_controlnet,
        "unsafe_ip": allows_unsafe_ip(pop.allow_unsafe_ipaddr, pop.allow_unsafe_ip),
        "many_steps": not pop.limit_max_steps,
        "generous": not pop.require_upfront_kudos,
        **_named(POST_PROCESSORS, post_processor_word, pop.post_processors),
        **_named(CONTROL_TYPES, control_word, pop.control_types),
    }
    words = {*agent, *allowed}
    return Offer(
        kind=NAME,
        words=frozenset(w for w in words if agent.get(w, True) and allowed.get(w, True)),
        sizes_max={"pixels": pop.max_pixels},
        models=frozenset(models),
        worker_id=worker_id,
        lacking_agent_words=frozenset(word for word, has in agent.items() if not has),
    )


def payload(request: ImageRequest, *, seed: int, n_iter: int) -> ImagePayload:
    """What the worker is told to do: `n_iter` pictures starting from one `seed`."""
    shared_fields = {
        name: getattr(request.params, name) for name in ImageStyleParams.__struct_fields__
    }
    return ImagePayload(
        **{**shared_fields, "seed": str(seed)},
        prompt=request.prompt,
        ddim_steps=steps(request),
        n_iter=n_iter,
        use_nsfw_censor=True if request.censor_nsfw and not request.nsfw else None,
    )


def sharing(request: ImageRequest, requester: Requester) -> bool:
    """Whether the pictures are published (rules 6.1, as decided).

    Never when they come from somebody's source image or an education account; always for
    anonymous requesters; otherwise as asked.
    """
    if request.source_image is not None or request.extra_source_images or requester.education:
        return False
    return requester.anonymous or request.shared


def uptime_reward_milli(models: int, *, allow_lora: bool) -> int:
    """What ten minutes of readiness earn, in thousandths of a kudos (rules 3.7)."""
    return (50 + 2 * models + 30 * allow_lora) * 1000


def _source_words(request: ImageRequest) -> dict[str, bool]:
    has_source = request.source_image is not None
    painting = has_source and request.source_processing in PAINTING
    return {
        "img2img": has_source,
        "painting": painting,
        "inpainting_model": painting,
        "ordinary_model": not painting,
        "extra_sources": bool(request.extra_source_images),
    }


def _agent_words(
    able: Capabilities, models: Sequence[str], reference: Reference
) -> dict[str, bool]:
    """Whether the agent's version can do each thing that depends on it."""
    has = able.words.__contains__
    words = {
        "r2": has("r2"),
        "img2img": has("img2img"),
        "painting": has("inpainting"),
        "extra_sources": has("extra_source_images"),
        "lora": has("lora"),
        "lora_versions": has("lora_versions"),
        "textual_inversion": has("textual_inversion"),
        "post_processing": has("post-processing"),
        "controlnet": has("controlnet"),
        "image_is_control": has("image_is_control"),
        "return_control_map": has("return_control_map"),
        "qr_code": has("controlnet") and has("qr_code"),
        "transparent": has("layer_diffuse"),
        "tiling": has("tiling"),
        "hires_fix": has("hires_fix"),
        "stable_cascade_2pass": has("stable_cascade_2pass")
        or not _serves(models, reference, "stable_cascade"),
        "flux": has("flux") or not _serves(models, reference, "flux_1"),
        "clip_skip": has("clip_skip"),
    }
    for name in SAMPLERS:
        words[sampler_word(name, karras=False)] = name in able.samplers
        words[sampler_word(name, karras=True)] = name in able.samplers_karras
    words |= {control_word(name): has("controlnet") for name in CONTROL_TYPES}
    return words | {post_processor_word(name): has(name) for name in POST_PROCESSORS}


def _named(
    known: Sequence[str], word: Callable[[str], str], named: Sequence[str] | None
) -> dict[str, bool]:
    """Whether each known thing is among those that a worker names; one that names none has all."""
    return {word(name): named is None or name in named for name in known}


def _serves(models: Sequence[str], reference: Reference, baseline: str) -> bool:
    return any(reference.baseline(name) == baseline for name in models)


def comfortable_steps(models: Sequence[str], reference: Reference) -> float:
    """Above so many accurate steps a request has many: the middle of each model's own bounds, the
    lowest counts (rule 18 of rules 4.4)."""
    bounds = [reference.facts(name).requirements for name in models] or [{}]
    return min(
        float(each.get("min_steps", MIN_STEPS_DEFAULT) + each.get("max_steps", MAX_STEPS_DEFAULT))
        / 2
        for each in bounds
    )
