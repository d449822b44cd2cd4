# SPDX-License-Identifier: AGPL-3.0-or-later
import pytest

from openhorde.server.domain.kinds.image_terms import batch_amount, job_multiplier
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
    needs = Needs(kind="image", words=words, pixels=1024 * 1024)
    pop = ImagePop(name="w", amount=amount, max_pixels=1024 * 1024)
    assert batch_amount(needs, model, REFERENCE, pop) == jobs
