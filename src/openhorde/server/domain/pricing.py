# SPDX-License-Identifier: AGPL-3.0-or-later
"""What image work costs, line by line (rules 3.1 to 3.4).

The base price of one picture is a closed formula, fitted by `bench/fit_pricing.py` to sampled
prices of the public horde: a start, a part that grows with the size, a part that grows with steps
and size together, and a part for each extra. Against the sampled prices of common pictures (256 to
2048 pixels a side, at most 150 steps) it errs by 5 % in the median and 21 % at the 95th percentile.
Amounts are thousandths of a kudos.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from openhorde.server.domain.kinds import image
from openhorde.server.domain.kinds.image_rules import UPSCALERS
from openhorde.server.domain.kinds.image_work import ADAPTIVE_SAMPLER
from openhorde.server.domain.pricing_lines import Estimate, PriceLine
from openhorde.server.domain.reference import BASELINE_MULTIPLIERS, Reference
from openhorde.wire.requests import ImageRequest

AREA_UNIT_PIXELS: Final = 512 * 512
START_KUDOS: Final = 2.2312
SIZE_KUDOS: Final = 0.6300
SIZE_POWER: Final = 1.6921
STEP_KUDOS: Final = 0.1106
STEP_SIZE_KUDOS: Final = 0.0462
STEP_SIZE_POWER: Final = 1.2931
ADAPTIVE_FACTOR: Final = 1.5061
HIRES_STEP_KUDOS: Final = 0.1587
SOURCE_FACTOR: Final = 0.8503
SOURCE_STRENGTH_FACTOR: Final = 0.2697
OUTPAINTING_FACTOR: Final = 1.4660
CONTROL_FACTORS: Final = {
    "canny": 1.3078,
    "hed": 1.8861,
    "depth": 1.7094,
    "normal": 2.4202,
    "openpose": 1.4162,
    "seg": 1.3214,
    "scribble": 0.0,
    "fakescribbles": 1.3679,
    "hough": 1.8038,
}
"""A control type costs this share of the steps besides. Scribble: as sampled."""

_GFPGAN, _SIAX, _SMALL = (1.5815, 0.2276), (1.7176, 1.4161), (1.1739, 0.2895)
POST_PROCESSOR_KUDOS: Final = {
    "GFPGAN": _GFPGAN,
    "CodeFormers": (0.0, 0.0),
    "strip_background": (0.7999, 0.7555),
    "RealESRGAN_x4plus": (0.0, 3.6375),
    "RealESRGAN_x2plus": (1.4630, 2.0523),
    "RealESRGAN_x4plus_anime_6B": _SMALL,
    "NMKD_Siax": _SIAX,
    "4x_AnimeSharp": (3.6838, 0.9420),
    "GFPGANv1.3": _GFPGAN,
    "RestoreFormer": _GFPGAN,
    "4xNomos8kSC": _SIAX,
    "4xLSDIRplus": _SIAX,
    "4xNomosWebPhoto_RealPLKSR": _SIAX,
    "4xNomos2_realplksr_dysample": _SIAX,
    "4xNomos2_hq_dat2": _SIAX,
    "2xModernSpanimationV1": _SMALL,
}
"""Flat kudos, and kudos per area unit. The last eight are not sampled: like their nearest kin."""

LORA_MILLI: Final = 3000
TEXTUAL_INVERSIONS_MILLI: Final = 1000
JOB_TAX_MILLI: Final = 1000
ACTIVATION_TAX_MILLI: Final = 3000
ACTIVATION_TAX_SHARED_MILLI: Final = 1000
EXTRA_SOURCE_IMAGE_TAX_MILLI: Final = 5000
STYLE_TAX_MILLI: Final = 2000
SOURCE_IMAGE_CHARGE: Final = 1.3
UPSCALER_CHARGE: Final = 1.05
FAST_WORKERS_CHARGE: Final = 1.2
BLACKLIST_CHARGE: Final = 1.1
ANY_MODEL_MULTIPLIER: Final = BASELINE_MULTIPLIERS["stable_diffusion_xl"]


class ImagePrice(Struct, frozen=True):
    """The base price of one picture; `lines` sum exactly to `base_milli`."""

    base_milli: int
    lines: tuple[PriceLine, ...]


class Charge(Struct, frozen=True):
    """What the requester pays per delivered job; `lines` turn the base price into both together.

    The price is before the multiplier of the job's model.
    """

    price_each_milli: int
    tax_each_milli: int
    lines: tuple[PriceLine, ...] = ()


def image_base(request: ImageRequest) -> ImagePrice:
    """The base price of one picture of the request, before its model's multiplier.

    Never falls when pixels or steps grow. Lines of zero are left out.
    """
    parts = (PriceLine(label, round(kudos * 1000)) for label, kudos in _base_parts(request))
    lines = tuple(line for line in parts if line.milli)
    return ImagePrice(sum(line.milli for line in lines), lines)


def charge(request: ImageRequest, base_milli: int) -> Charge:
    """What the requester pays per job of that base price (rules 3.3).

    A source image and upscalers raise the price; refusing slow workers and listing unwanted ones
    raise the price and the tax.
    """
    lines: list[PriceLine] = []
    factor = 1.0
    for label, each in _price_factors(request):
        before, factor = round(base_milli * factor), factor * each
        lines.append(PriceLine(label, round(base_milli * factor) - before))
    untaxed = round(base_milli * factor)
    lines.append(PriceLine("tax per picture", JOB_TAX_MILLI))
    surcharge = 1.0
    for label, each in _surcharges(request):
        before = round(untaxed * surcharge) + round(JOB_TAX_MILLI * surcharge)
        surcharge *= each
        after = round(untaxed * surcharge) + round(JOB_TAX_MILLI * surcharge)
        lines.append(PriceLine(label, after - before))
    return Charge(round(untaxed * surcharge), round(JOB_TAX_MILLI * surcharge), tuple(lines))


def activation_tax_milli(
    request: ImageRequest, *, shared: bool, someone_elses_style: bool = False
) -> int:
    """What every request burns when it is accepted (rules 3.4, as decided)."""
    return sum(line.milli for line in _activation_lines(request, shared, someone_elses_style))


def estimate(
    request: ImageRequest,
    reference: Reference,
    *,
    shared: bool = False,
    someone_elses_style: bool = False,
) -> Estimate:
    """What the whole request is expected to cost (rules 3.4).

    The family of the first listed model counts, SDXL when none is listed; it multiplies the tax
    too, so the estimate is slightly high.
    """
    base = image_base(request)
    each = charge(request, base.base_milli)
    one_milli = each.price_each_milli + each.tax_each_milli
    models = request.models
    multiplier = reference.multiplier(models[0]) if models else ANY_MODEL_MULTIPLIER
    pictures = request.params.n
    lines = [*base.lines, *each.lines]
    if multiplier > 1:
        family = reference.baseline(models[0]) if models else "any model"
        lines.append(PriceLine(f"{family}: x {multiplier}", one_milli * (multiplier - 1)))
    if pictures > 1:
        label = f"{pictures} pictures"
        lines.append(PriceLine(label, one_milli * multiplier * (pictures - 1)))
    lines += _activation_lines(request, shared, someone_elses_style)
    return Estimate(sum(line.milli for line in lines), tuple(line for line in lines if line.milli))


def price_lines(request: ImageRequest, price_milli: int) -> tuple[PriceLine, ...]:
    """Where the price of one delivered job came from; the lines sum exactly to it.

    What the request alone does not tell is the multiplier of the model that the worker chose.
    """
    base = image_base(request)
    lines, factor = list(base.lines), 1.0
    for label, each in (*_price_factors(request), *_surcharges(request)):
        before, factor = round(base.base_milli * factor), factor * each
        lines.append(PriceLine(label, round(base.base_milli * factor) - before))
    rest = price_milli - sum(line.milli for line in lines)
    return (*lines, PriceLine("the model's family", rest)) if rest else tuple(lines)


def _base_parts(request: ImageRequest) -> Iterator[tuple[str, float]]:
    params = request.params
    area = params.width * params.height / AREA_UNIT_PIXELS
    steps = image.request_steps(request)
    steps_kudos = steps * (STEP_KUDOS + STEP_SIZE_KUDOS * area**STEP_SIZE_POWER)
    yield "start", START_KUDOS
    yield f"{params.width} x {params.height} pixels", SIZE_KUDOS * area**SIZE_POWER
    yield f"{steps} steps ({params.sampler_name})", steps_kudos * _steps_factor(request)
    if params.hires_fix:
        yield "hires fix", steps * HIRES_STEP_KUDOS
    if params.control_type is not None:
        control = params.control_type
        yield f"control map ({control})", steps_kudos * CONTROL_FACTORS[control]
    for name in params.post_processing:
        flat, per_area = POST_PROCESSOR_KUDOS[name]
        yield name, flat + per_area * area
    if params.loras:
        yield f"{len(params.loras)} loras", len(params.loras) * LORA_MILLI / 1000
    if params.tis:
        yield "textual inversions", TEXTUAL_INVERSIONS_MILLI / 1000


def _steps_factor(request: ImageRequest) -> float:
    params = request.params
    factor = ADAPTIVE_FACTOR if params.sampler_name == ADAPTIVE_SAMPLER else 1.0
    if request.source_image is not None and params.control_type is None:
        strength = params.denoising_strength
        factor *= SOURCE_FACTOR + SOURCE_STRENGTH_FACTOR * (1.0 if strength is None else strength)
        if request.source_processing == "outpainting":
            factor *= OUTPAINTING_FACTOR
    return factor


def _price_factors(request: ImageRequest) -> Iterator[tuple[str, float]]:
    if request.source_image is not None:
        yield f"source image: x {SOURCE_IMAGE_CHARGE}", SOURCE_IMAGE_CHARGE
    for name in request.params.post_processing:
        if name in UPSCALERS:
            yield f"{name}: x {UPSCALER_CHARGE}", UPSCALER_CHARGE


def _surcharges(request: ImageRequest) -> Iterator[tuple[str, float]]:
    if not request.slow_workers:
        yield f"no slow workers: x {FAST_WORKERS_CHARGE}", FAST_WORKERS_CHARGE
    if request.worker_blacklist:
        yield f"unwanted workers: x {BLACKLIST_CHARGE}", BLACKLIST_CHARGE


def _activation_lines(
    request: ImageRequest, shared: bool, someone_elses_style: bool
) -> Iterator[PriceLine]:
    tax = ACTIVATION_TAX_SHARED_MILLI if shared else ACTIVATION_TAX_MILLI
    yield PriceLine("tax per request, shared" if shared else "tax per request", tax)
    extras = len(request.extra_source_images)
    if extras:
        yield PriceLine(f"{extras} extra source images", extras * EXTRA_SOURCE_IMAGE_TAX_MILLI)
    if someone_elses_style:
        yield PriceLine("somebody's style", STYLE_TAX_MILLI)
