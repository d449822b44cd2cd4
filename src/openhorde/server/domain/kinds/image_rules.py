# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an image request may ask for, and the first thing that is wrong with it (rules 2.2, 2.7)."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from openhorde.server.domain.kinds import image_work
from openhorde.server.domain.kinds.face import PictureFacts
from openhorde.server.domain.model_names import owner_of
from openhorde.server.domain.needs import POST_PROCESSORS
from openhorde.server.domain.reference import DEFAULT_BASELINE, Reference, is_special
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.wire.image import ImageParams
from openhorde.wire.requests import ImageRequest, Warning

PAINTING: Final = frozenset({"inpainting", "outpainting"})
EXTRA_SOURCE_IMAGES_MAX: Final = 5
EXTRA_SOURCE_IMAGES_MAX_UNTRUSTED: Final = 1
PROMPT_WORDS_MAX: Final = 7500
SPECIAL_BYTES_MAX: Final = 10_000
LORAS_MAX: Final = 5
TEXTUAL_INVERSIONS_MAX: Final = 20
UPSCALERS_MAX: Final = 1
WORKERS_MAX: Final = 5
CFG_DECIMALS_MAX: Final = 2
NOT_UPSCALERS: Final = frozenset(
    {"GFPGAN", "GFPGANv1.3", "CodeFormers", "RestoreFormer", "strip_background"}
)
UPSCALERS: Final = frozenset(POST_PROCESSORS) - NOT_UPSCALERS
SOURCE_ONLY_MODELS: Final = frozenset({"Stable Diffusion 2 Depth", "pix2pix"})
LATE_BASELINES: Final = frozenset({"flux_1", "qwen_image", "z_image_turbo"})
NO_CONTROL_BASELINES: Final = LATE_BASELINES | {"stable_diffusion_xl", "stable_cascade"}
NOT_ON_SECOND_CONTROLS: Final = frozenset({"normal", "mlsd", "hough"})
CLASSIC_BASELINES: Final = frozenset({DEFAULT_BASELINE, "stable_diffusion_xl"})


def check(
    request: ImageRequest, requester: Requester, reference: Reference
) -> tuple[ImageRequest, tuple[Warning, ...]]:
    """The request as it will be done, and what may not come out as hoped.

    Raises `Refusal` for the first rule it breaks, in the order of rules 2.2. Rules that need the
    database (concurrency, listed workers, prompt filters, kudos) are checked elsewhere; use
    `check_request` and `check_features` to put them in between.
    """
    check_request(request, requester)
    warnings = check_features(request, requester, reference)
    return normalised(request, requester), warnings


def check_request(request: ImageRequest, requester: Requester) -> None:
    """Rows 4 to 10 of rules 2.2: who may ask for what. Raises `Refusal`."""
    if _holds_nul(msgspec.to_builtins(request)):
        raise Refusal("NulByteInPayload")
    if request.webhook is not None and not request.webhook.startswith("https://"):
        raise Refusal("BadRequest", field="webhook", given=request.webhook)
    if request.proxied_account is not None and not requester.service:
        raise Refusal("OnlyServiceAccountProxy")
    if requester.deleted:
        raise Refusal("DeletedUser")
    extras = len(request.extra_source_images)
    if extras > EXTRA_SOURCE_IMAGES_MAX:
        raise Refusal("TooManyExtraSourceImages.", maximum=EXTRA_SOURCE_IMAGES_MAX, given=extras)
    favoured = requester.trusted or requester.patron
    if extras > EXTRA_SOURCE_IMAGES_MAX_UNTRUSTED and not favoured:
        raise Refusal(
            "MoreThanMinExtraSourceImage.", maximum=EXTRA_SOURCE_IMAGES_MAX_UNTRUSTED, given=extras
        )
    if not request.prompt.strip():
        raise Refusal("MissingPrompt")
    words = len(request.prompt.split())
    if words > PROMPT_WORDS_MAX:
        raise Refusal("InvalidPromptSize", maximum=PROMPT_WORDS_MAX, given=words)
    if request.disable_batching and request.params.n > 1 and not favoured:
        raise Refusal("RequiresTrust", field="disable_batching")


def check_features(
    request: ImageRequest, requester: Requester, reference: Reference
) -> tuple[Warning, ...]:
    """Rows 14 and 15 of rules 2.2: parameters and how they combine. Raises `Refusal`."""
    warnings = _requirement_warnings(request, reference)
    _check_params(request.params)
    _check_special(request, requester)
    _check_sources(request)
    baselines = [reference.baseline(name) for name in request.models]
    _check_control(request, baselines)
    _check_pictures(request, baselines)
    _check_models(request, reference)
    return warnings


def check_mask(
    request: ImageRequest, source: PictureFacts | None, mask: PictureFacts | None
) -> None:
    """Refuses inpainting without anything that says where to paint (rules 2.6), and a mask that
    selects nothing."""
    if mask is not None and mask.is_blank:
        raise Refusal("InpaintingMissingMask", reason="blank mask")
    painting = request.source_image is not None and request.source_processing == "inpainting"
    has_holes = source is not None and source.has_holes
    if painting and mask is None and not has_holes:
        raise Refusal("InpaintingMissingMask")


def normalised(request: ImageRequest, requester: Requester) -> ImageRequest:
    """A copy with everything forced or defaulted by the rules filled in."""
    params = msgspec.structs.replace(
        request.params,
        steps=image_work.steps(request),
        post_processing=list(dict.fromkeys(request.params.post_processing)),
    )
    changes: dict[str, Any] = {"params": params, "workers": request.workers[:WORKERS_MAX]}
    if request.source_image is None and request.source_processing != "remix":
        changes["source_processing"] = "img2img"
    if params.workflow == "qr_code":
        changes["disable_batching"] = True
    if requester.education:
        changes |= {
            "nsfw": False,
            "censor_nsfw": True,
            "trusted_workers": True,
            "shared": False,
            "replacement_filter": True,
        }
    return msgspec.structs.replace(request, **changes)


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(part) for part in value) or _holds_nul(list(value.values()))
    return isinstance(value, list) and any(_holds_nul(part) for part in value)


def _check_params(params: ImageParams) -> None:
    if len(params.loras) > LORAS_MAX:
        raise Refusal(
            "TooManyLoras", field="params.loras", maximum=LORAS_MAX, given=len(params.loras)
        )
    for lora in params.loras:
        if lora.is_version and not (lora.name.isascii() and lora.name.isdigit()):
            raise Refusal("BadLoraVersion", field="params.loras", given=lora.name)
    if len(params.tis) > TEXTUAL_INVERSIONS_MAX:
        raise Refusal(
            "TooManyTIs", field="params.tis", maximum=TEXTUAL_INVERSIONS_MAX, given=len(params.tis)
        )
    upscalers = UPSCALERS.intersection(params.post_processing)
    if len(upscalers) > UPSCALERS_MAX:
        raise Refusal(
            "TooManyUpscalers",
            field="params.post_processing",
            maximum=UPSCALERS_MAX,
            given=len(upscalers),
        )
    if round(params.cfg_scale, CFG_DECIMALS_MAX) != params.cfg_scale:
        raise Refusal("BadCFGDecimals", field="params.cfg_scale", given=params.cfg_scale)


def _check_special(request: ImageRequest, requester: Requester) -> None:
    for name in filter(is_special, request.models):
        if not requester.special:
            raise Refusal("SpecialModelNeedsSpecialUser", model=name)
        owner = owner_of(name)
        if not owner:
            raise Refusal("SpecialMissingUsername", model=name)
        if owner != requester.alias:
            raise Refusal("SpecialForbidden", model=name)
        if request.params.special is None:
            raise Refusal("SpecialMissingPayload", model=name)
    if request.params.special is None:
        return
    if not requester.special:
        raise Refusal("SpecialFieldNeedsSpecialUser", field="params.special")
    size = len(msgspec.json.encode(request.params.special))
    if size > SPECIAL_BYTES_MAX:
        raise Refusal("TooLong", field="params.special", maximum=SPECIAL_BYTES_MAX, given=size)


def _check_sources(request: ImageRequest) -> None:
    if request.source_mask is not None and request.source_image is None:
        raise Refusal("SourceMaskUnnecessary", field="source_mask")
    if request.extra_source_images and request.source_processing != "remix":
        raise Refusal("InvalidExtraSourceImages.", field="extra_source_images")


def _check_control(request: ImageRequest, baselines: list[str]) -> None:
    control = request.params.control_type
    if control is None:
        return
    if control in NOT_ON_SECOND_CONTROLS and _any_starts(baselines, "stable diffusion 2"):
        raise Refusal("ControlNetUnsupported", control_type=control)
    if "pix2pix" in request.models:
        raise Refusal("ControlNetUnsupported", control_type=control, model="pix2pix")
    if request.source_image is None:
        raise Refusal("ControlNetSourceMissing", control_type=control)
    if request.source_processing == "inpainting":
        raise Refusal("ControlNetInpaintingMismatch", control_type=control)
    if not NO_CONTROL_BASELINES.isdisjoint(baselines):
        raise Refusal("ControlNetMismatch", control_type=control)


def _check_pictures(request: ImageRequest, baselines: list[str]) -> None:
    params = request.params
    if params.hires_fix and not LATE_BASELINES.isdisjoint(baselines):
        raise Refusal("HiResMismatch", field="params.hires_fix")
    if params.transparent:
        if not CLASSIC_BASELINES.issuperset(baselines):
            raise Refusal("InvalidTransparencyModel", field="params.transparent")
        if request.extra_source_images:
            raise Refusal("InvalidTransparencyImg2Img", field="params.transparent")
        if params.control_type is not None:
            raise Refusal("InvalidTransparencyCN", field="params.transparent")
    if request.source_processing == "remix" and not {"stable_cascade"}.issuperset(baselines):
        raise Refusal("InvalidRemix", field="source_processing")
    if params.workflow != "qr_code":
        if params.extra_texts:
            raise Refusal("InvalidExtraTexts.", field="params.extra_texts")
        return
    if not any(text.reference == "qr_code" for text in params.extra_texts or ()):
        raise Refusal("MissingExtraTexts.", field="params.extra_texts")
    if not CLASSIC_BASELINES.issuperset(baselines):
        raise Refusal("ControlNetMismatch.", field="params.workflow")


def _check_models(request: ImageRequest, reference: Reference) -> None:
    has_source = request.source_image is not None
    for name in request.models:
        if name in SOURCE_ONLY_MODELS and not has_source:
            raise Refusal("SourceImageRequiredForModel", model=name)
        is_control = reference.facts(name).type == "controlnet"
        if name in POST_PROCESSORS or (is_control and not has_source):
            raise Refusal("UnexpectedModelName", model=name)


def _any_starts(names: Iterable[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)


def _requirement_warnings(request: ImageRequest, reference: Reference) -> tuple[Warning, ...]:
    found: dict[tuple[str, str], Warning] = {}
    for name in request.models:
        requirements = reference.facts(name).requirements
        for code, message in _mismatches(name, requirements, request.params):
            found[code, message] = Warning(code=code, message=message)
    return tuple(found.values())


def _mismatches(
    model: str, requirements: dict[str, Any], params: ImageParams
) -> Iterable[tuple[str, str]]:
    """What the model's requirements say against these parameters (rules 2.7)."""
    given: dict[str, Any] = {
        "clip_skip": params.clip_skip or 1,
        "steps": image_work.STEPS_DEFAULT if params.steps is None else params.steps,
        "cfg_scale": params.cfg_scale,
        "sampler": params.sampler_name,
        "scheduler": "karras" if params.karras else "simple",
    }
    for requirement, key, code, differs, wish in _REQUIREMENTS:
        wanted = requirements.get(requirement)
        if wanted is None or not differs(given[key], wanted):
            continue
        shown = ", ".join(map(str, wanted)) if isinstance(wanted, list) else wanted
        yield code, f"{model} works best with {key} {wish}{shown}, not {given[key]}."


_REQUIREMENTS: Final = (
    ("clip_skip", "clip_skip", "ClipSkipMismatch", lambda is_, wish: is_ != wish, ""),
    ("min_steps", "steps", "StepsTooFew", lambda is_, wish: is_ < wish, "of at least "),
    ("max_steps", "steps", "StepsTooMany", lambda is_, wish: is_ > wish, "of at most "),
    ("cfg_scale", "cfg_scale", "CfgScaleMismatch", lambda is_, wish: is_ != wish, ""),
    (
        "min_cfg_scale",
        "cfg_scale",
        "CfgScaleTooSmall",
        lambda is_, wish: is_ < wish,
        "of at least ",
    ),
    ("max_cfg_scale", "cfg_scale", "CfgScaleTooLarge", lambda is_, wish: is_ > wish, "of at most "),
    ("samplers", "sampler", "SamplerMismatch", lambda is_, wish: is_ not in wish, ""),
    ("schedulers", "scheduler", "SchedulerMismatch", lambda is_, wish: is_ not in wish, ""),
)
