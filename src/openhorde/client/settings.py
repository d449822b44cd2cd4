# SPDX-License-Identifier: AGPL-3.0-or-later
"""What can be asked of a picture, and how it becomes the body of a request."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from openhorde.client.bodies import request_body
from openhorde.client.errors import HordeError
from openhorde.wire.image import (
    ControlType,
    ExtraSourceImage,
    ExtraText,
    ImageParams,
    Lora,
    PostProcessor,
    Sampler,
    SourceProcessing,
    TextualInversion,
)
from openhorde.wire.requests import ImageRequest

NEGATIVE_MARK = "###"
NEEDS_SOURCE = ("img2img", "inpainting", "outpainting")


class ImageSettings(TypedDict, total=False):
    """Everything besides the prompt and the source images. Any model may draw unless `models` names
    some; what else is left out, the horde decides.

    The names are the wire's; `negative_prompt` joins the prompt and `extra_params` goes into
    `params` unlooked-at, for hordes that know more than this client.
    """

    negative_prompt: str | None
    extra_params: Mapping[str, Any] | None
    models: Sequence[str]
    nsfw: bool
    censor_nsfw: bool
    trusted_workers: bool
    validated_backends: bool
    slow_workers: bool
    extra_slow_workers: bool
    workers: Sequence[str]
    worker_blacklist: bool
    source_processing: SourceProcessing
    extra_source_images: Sequence[ExtraSourceImage]
    r2: bool
    shared: bool
    replacement_filter: bool
    proxied_account: str | None
    disable_batching: bool
    allow_downgrade: bool
    webhook: str | None
    style: str | None
    sampler_name: Sampler
    cfg_scale: float
    denoising_strength: float | None
    hires_fix_denoising_strength: float | None
    seed: str | int | None
    seed_variation: int | None
    height: int
    width: int
    post_processing: Sequence[PostProcessor]
    karras: bool
    tiling: bool
    hires_fix: bool
    clip_skip: int | None
    facefixer_strength: float | None
    loras: Sequence[Lora]
    tis: Sequence[TextualInversion]
    control_type: ControlType | None
    image_is_control: bool
    return_control_map: bool
    workflow: str | None
    transparent: bool
    extra_texts: Sequence[ExtraText] | None
    special: Mapping[str, Any] | None
    steps: int | None
    n: int


PARAMS = frozenset(ImageParams.__struct_fields__)
REQUEST = frozenset(ImageRequest.__struct_fields__) - {"prompt", "params"}


def image_body(prompt: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON body of `POST generate/async`.

    Where no models are named, any will do: the wire's own default is one particular model. A style
    brings its own models.
    """
    asked = dict(settings)
    if asked.get("models") is None and asked.get("style") is None:
        asked["models"] = []
    negative = asked.pop("negative_prompt", None)
    if asked.get("seed") is not None:
        asked["seed"] = str(asked["seed"])
    prompt = f"{prompt} {NEGATIVE_MARK} {negative}" if negative else prompt
    return request_body(prompt, asked, params=PARAMS, request=REQUEST)


def check_sources(body: Mapping[str, Any], source_image: object, source_mask: object) -> None:
    """Raises HordeError where what is asked for needs a picture that is not there.

    A horde would draw from the prompt alone, and charge for that.
    """
    processing = body.get("source_processing")
    if processing in NEEDS_SOURCE and source_image is None:
        errors = {"source_image": f"is missing: {processing} changes a picture that is there"}
    elif source_mask is not None and source_image is None:
        errors = {"source_image": "is missing: the mask says what to paint anew in it"}
    else:
        return
    raise HordeError(0, None, "Nothing was sent.", errors)


def asked_facts(body: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked, with the wire's defaults filled in, as it is noted in a finished picture."""
    params: Mapping[str, Any] = body.get("params") or {}
    defaults = ImageParams()
    prompt, _, negative = str(body["prompt"]).partition(NEGATIVE_MARK)
    default_steps = 20 if params.get("control_type") else 30
    facts: dict[str, Any] = {
        "prompt": prompt.strip(),
        "negative_prompt": negative.strip(),
        "steps": params.get("steps", default_steps),
        "sampler_name": params.get("sampler_name", defaults.sampler_name),
        "cfg_scale": params.get("cfg_scale", defaults.cfg_scale),
        "karras": params.get("karras", defaults.karras),
    }
    for name in ("denoising_strength", "clip_skip", "control_type", "post_processing", "hires_fix"):
        if params.get(name):
            facts[name] = params[name]
    if "source_image" in body:
        facts["source_processing"] = body.get("source_processing", "img2img")
    return facts
