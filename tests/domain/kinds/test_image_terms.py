# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import pytest

from openhorde.server.domain.kinds.image_terms import (
    batch_amount,
    job_multiplier,
    safe_amount,
)
from openhorde.server.domain.needs import Needs
from openhorde.server.domain.reference import Reference
from openhorde.wire.work import ImagePop

REFERENCE = Reference.from_json(
    {
        "sd": {"baseline": "stable diffusion 1"},
        "xl": {"baseline": "stable_diffusion_xl"},
        "cascade": {"baseline": "stable_cascade"},
        "qwen": {"baseline": "qwen_image"},
    }
)


@pytest.mark.parametrize(
    ("words", "model", "multiplier"),
    [
        ((), "sd", 1),
        ((), "xl", 2),
        (("qr_code",), "xl", 4),
        (("qr_code",), "sd", 1),
        ((), "cascade", 4),
        (("hires_fix",), "cascade", 7),
        (("hires_fix",), "xl", 2),
        ((), "[Flux] x", 8),
        ((), "[ZImage] x", 8),
        ((), "qwen", 12),
    ],
)
def test_what_a_job_is_worth(words: tuple[str, ...], model: str, multiplier: int) -> None:
    needs = Needs(kind="image", words=words)
    assert job_multiplier(needs, model, REFERENCE) == multiplier


@pytest.mark.parametrize(
    ("words", "model", "amount", "jobs"),
    [
        ((), "sd", 20, 6),
        ((), "sd", 1, 1),
        ((), "qwen", 20, 1),
        (("post-processor:GFPGAN", "post_processing"), "sd", 20, 4),
        (("post-processor:CodeFormers", "post_processing"), "sd", 20, 2),
        (("transparent",), "sd", 20, 3),
    ],
)
def test_how_many_jobs_go_together(
    words: tuple[str, ...], model: str, amount: int, jobs: int
) -> None:
    needs = Needs(kind="image", words=words, sizes=(("pixels", 1024 * 1024),))
    pop = ImagePop(name="w", amount=amount, max_pixels=1024 * 1024)
    assert batch_amount(needs, model, REFERENCE, pop) == jobs


def amount(**changes: object) -> int:
    facts: dict[str, Any] = {
        "pixels": 512 * 512,
        "pixels_max": 1024 * 1024,
        "amount": 20,
        "waiting": 20,
        "baseline": "stable diffusion 1",
    }
    return safe_amount(**(facts | changes))


def test_batches() -> None:
    assert amount() == 20
    assert amount(amount=4) == 4
    assert amount(waiting=3) == 3
    assert amount(pixels=1024 * 1024) == 6
    assert amount(pixels=1024 * 1024, post_processing=["GFPGAN"]) == 4
    assert amount(pixels=1024 * 1024, post_processing=["CodeFormers"]) == 2
    assert amount(pixels=1024 * 1024, transparent=True) == 3
    assert amount(pixels=3072 * 3072) == 1
    assert amount(disable_batching=True) == 1


def test_batches_are_smaller_for_heavy_families() -> None:
    assert amount(baseline="flux_1") == 5
    assert amount(baseline="qwen_image") == 2
    assert amount(baseline="z_image_turbo") == 3


def test_batches_round_half_to_even() -> None:
    halves = {"pixels": 2, "amount": 7, "waiting": 7}
    assert amount(**halves, pixels_max=1) == 1
    assert amount(**halves, pixels_max=3) == 3
    assert amount(**{**halves, "pixels": 4}, pixels_max=5) == 2
