# SPDX-License-Identifier: AGPL-3.0-or-later
"""The parameters of image work, with the bounds and effective defaults of the v2 wire.

One struct serves the wire, the rules and the OpenAPI document, so a bound is written once.
Unknown keys are ignored and an explicit null counts as absent.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from openhorde.wire.bounds import Key, Picture

Sampler = Literal[
    "k_lms",
    "k_heun",
    "k_euler",
    "k_euler_a",
    "k_dpm_2",
    "k_dpm_2_a",
    "k_dpm_fast",
    "k_dpm_adaptive",
    "k_dpmpp_2s_a",
    "k_dpmpp_2m",
    "dpmsolver",
    "k_dpmpp_sde",
    "DDIM",
    "lcm",
]
PostProcessor = Literal[
    "GFPGAN",
    "RealESRGAN_x4plus",
    "RealESRGAN_x2plus",
    "RealESRGAN_x4plus_anime_6B",
    "NMKD_Siax",
    "4x_AnimeSharp",
    "CodeFormers",
    "strip_background",
    "4xNomos8kSC",
    "4xLSDIRplus",
    "4xNomosWebPhoto_RealPLKSR",
    "4xNomos2_realplksr_dysample",
    "4xNomos2_hq_dat2",
    "2xModernSpanimationV1",
    "GFPGANv1.3",
    "RestoreFormer",
]
ControlType = Literal[
    "canny", "hed", "depth", "normal", "openpose", "seg", "scribble", "fakescribbles", "hough"
]
SourceProcessing = Literal["img2img", "inpainting", "outpainting", "remix"]

SidePixels = Annotated[int, Meta(ge=64, le=3072, multiple_of=64, description="pixels")]
Strength = Annotated[float, Meta(ge=0.01, le=1.0)]
SignedStrength = Annotated[float, Meta(ge=-5.0, le=5.0)]


class Lora(Struct, kw_only=True, omit_defaults=True):
    """A low-rank adaptation to apply; `name` is a version id when `is_version`."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    model: SignedStrength = 1.0
    clip: SignedStrength = 1.0
    inject_trigger: Annotated[str, Meta(min_length=1, max_length=30)] | None = None
    is_version: bool = False


class TextualInversion(Struct, kw_only=True, omit_defaults=True):
    """An embedding to load and, if asked, to put into the prompt or negative prompt."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    inject_ti: Literal["prompt", "negprompt"] | None = None
    strength: SignedStrength = 1.0


class ExtraText(Struct, kw_only=True):
    """A text that a workflow needs, such as the content of a QR code."""

    text: Annotated[str, Meta(min_length=1, max_length=5_000)]
    reference: Annotated[str, Meta(min_length=3, max_length=255)]


class ExtraSourceImage(Struct, kw_only=True):
    """One more picture for remixing: base64 or URL, and its weight."""

    image: Picture
    strength: Annotated[float, Meta(ge=-1_000, le=1_000)] = 1.0


class ImageStyleParams(Struct, kw_only=True):
    """What both a request's `params` and a worker's `payload` carry."""

    sampler_name: Sampler = "k_euler_a"
    cfg_scale: Annotated[float, Meta(ge=0, le=100, description="at most two decimals")] = 5.0
    denoising_strength: Strength | None = None
    hires_fix_denoising_strength: Strength | None = None
    seed: Annotated[str, Meta(max_length=5_000)] | None = None
    seed_variation: Annotated[int, Meta(ge=1, le=1000)] | None = None
    height: SidePixels = 512
    width: SidePixels = 512
    post_processing: Annotated[list[PostProcessor], Meta(max_length=100)] = field(
        default_factory=list
    )
    karras: bool = True
    tiling: bool = False
    hires_fix: bool = False
    clip_skip: Annotated[int, Meta(ge=1, le=12)] | None = None
    facefixer_strength: Annotated[float, Meta(ge=0, le=1)] | None = None
    loras: Annotated[list[Lora], Meta(max_length=100)] = field(default_factory=list)
    tis: Annotated[list[TextualInversion], Meta(max_length=100)] = field(default_factory=list)
    control_type: ControlType | None = None
    image_is_control: bool = False
    return_control_map: bool = False
    workflow: Literal["qr_code"] | None = None
    transparent: bool = False
    extra_texts: Annotated[list[ExtraText], Meta(max_length=20)] | None = None
    special: Annotated[dict[Key, Any], Meta(max_length=100)] | None = None


class ImageParams(ImageStyleParams, kw_only=True):
    """`params` of an image request. `steps` defaults to 30, or to 20 with a control type."""

    steps: Annotated[int, Meta(ge=1, le=500)] | None = None
    n: Annotated[int, Meta(ge=1, le=20, description="how many pictures")] = 1


class ImagePayload(ImageStyleParams, kw_only=True):
    """`payload` of a popped image job: the prompt is here and steps are called `ddim_steps`."""

    prompt: str | None = None
    ddim_steps: int = 30
    n_iter: int = 1
    use_nsfw_censor: bool | None = None
