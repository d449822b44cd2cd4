# SPDX-License-Identifier: AGPL-3.0-or-later
"""On what terms a worker would take jobs with given needs: what it earns, and how many at once."""

from collections.abc import Sequence
from typing import Final

from openhorde.server.domain.needs import POST_PROCESSORS, Needs, post_processor_word
from openhorde.server.domain.reference import Reference
from openhorde.wire.work import ImagePop

HEAVY_POST_PROCESSORS: Final = frozenset(
    {
        "RealESRGAN_x4plus",
        "RealESRGAN_x4plus_anime_6B",
        "NMKD_Siax",
        "4x_AnimeSharp",
        "CodeFormers",
        "4xNomos8kSC",
        "4xLSDIRplus",
        "4xNomos2_hq_dat2",
        "RestoreFormer",
    }
)
BATCH_BURDENS: Final = {"flux_1": 5, "qwen_image": 10, "z_image_turbo": 8}
"""How much more memory a picture of this family takes in a batch."""

QR_CODE_MULTIPLIER_XL = 4
TWO_PASS_MULTIPLIER_CASCADE = 7


def job_multiplier(needs: Needs, model: str, reference: Reference) -> int:
    """What a job on that model earns, as a multiple of its base price (rules 3.2)."""
    baseline = reference.baseline(model)
    if baseline == "stable_diffusion_xl" and "qr_code" in needs.words:
        return QR_CODE_MULTIPLIER_XL
    if baseline == "stable_cascade" and "hires_fix" in needs.words:
        return TWO_PASS_MULTIPLIER_CASCADE
    return reference.multiplier(model)


def batch_amount(needs: Needs, model: str, reference: Reference, pop: ImagePop) -> int:
    """At most how many jobs of one request the worker gets at once (rules 4.5)."""
    if pop.amount == 1:
        return 1
    return safe_amount(
        pixels=needs.size("pixels"),
        pixels_max=pop.max_pixels,
        amount=pop.amount,
        waiting=pop.amount,
        baseline=reference.baseline(model),
        post_processing=[
            name for name in POST_PROCESSORS if post_processor_word(name) in needs.words
        ],
        transparent="transparent" in needs.words,
    )


def safe_amount(
    *,
    pixels: int,
    pixels_max: int,
    amount: int,
    waiting: int,
    baseline: str,
    post_processing: Sequence[str] = (),
    transparent: bool = False,
    disable_batching: bool = False,
) -> int:
    """How many jobs of one request a worker gets at once (rules 4.5): 1 to min(amount, waiting).

    `pixels` of one picture, `pixels_max` the worker's limit, `amount` what it asks for, `baseline`
    the family of the job's model.
    """
    if disable_batching:
        return 1
    burden = 1 + 0.4 * len(post_processing)
    if transparent or not HEAVY_POST_PROCESSORS.isdisjoint(post_processing):
        burden *= 1.8
    burden *= BATCH_BURDENS.get(baseline, 1)
    safe = round(pixels_max / 3.5 * amount / (pixels * burden))
    return max(1, min(safe, amount, waiting))
