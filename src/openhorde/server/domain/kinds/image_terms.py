# SPDX-License-Identifier: AGPL-3.0-or-later
"""On what terms a worker would take jobs with given needs: what it earns, and how many at once."""

from openhorde.server.domain import matching
from openhorde.server.domain.needs import POST_PROCESSORS, Needs, post_processor_word
from openhorde.server.domain.reference import Reference
from openhorde.wire.work import ImagePop

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
    return matching.batch_amount(
        pixels=needs.pixels,
        pixels_max=pop.max_pixels,
        amount=pop.amount,
        waiting=pop.amount,
        baseline=reference.baseline(model),
        post_processing=[
            name for name in POST_PROCESSORS if post_processor_word(name) in needs.words
        ],
        transparent="transparent" in needs.words,
    )
