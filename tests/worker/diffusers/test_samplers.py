# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every sampler of the wire, with and without karras sigmas, and what a seed promises."""

from io import BytesIO
from typing import Any, get_args

import pytest
from PIL import Image

from openhorde.wire.image import Sampler


@pytest.mark.parametrize("karras", [True, False])
@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_sampler_draws_and_honours_the_seed(studio: Any, sampler: str, karras: bool) -> None:
    first = studio.content(sampler=sampler, karras=karras, steps=3)
    assert studio.content(sampler=sampler, karras=karras, steps=3) == first
    assert studio.content(sampler=sampler, karras=karras, steps=3, seeds=[8]) != first


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_sampler_draws_over_a_picture(
    studio: Any, sampler: str, source: Image.Image, encoded: Any
) -> None:
    over = {"sampler": sampler, "source": encoded(source), "steps": 4, "denoising_strength": 0.5}
    first = studio.content(**over)
    assert studio.content(**over) == first


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_sampler_draws_in_one_step(studio: Any, sampler: str) -> None:
    assert studio.picture(sampler=sampler, steps=1).size == (64, 64)


@pytest.mark.parametrize("sampler", ["k_euler_a", "k_dpmpp_sde", "k_dpmpp_2m"])
def test_a_batch_holds_what_each_seed_gives_alone(
    studio: Any, sampler: str, difference: Any
) -> None:
    together = studio.draw(sampler=sampler, seeds=[7, 8, 9])
    assert [artifact.seed for artifact in together] == [7, 8, 9]
    alone = studio.picture(sampler=sampler, seeds=[8])
    assert difference(Image.open(BytesIO(together[1].content)), alone) < 3
    assert len({artifact.content for artifact in together}) == 3


def test_karras_and_sampler_make_a_difference(studio: Any) -> None:
    pictures = {
        studio.content(steps=4, sampler="k_dpmpp_2m", karras=True),
        studio.content(steps=4, sampler="k_dpmpp_2m", karras=False),
        studio.content(steps=4, sampler="DDIM"),
    }
    assert len(pictures) == 3


def test_an_approximated_sampler_is_told(studio: Any) -> None:
    (artifact,) = studio.draw(sampler="k_dpm_fast")
    (note,) = artifact.notes
    assert (note.type, note.value) == ("information", "see_ref")
    assert note.ref is not None
    assert note.ref.startswith("k_dpm_fast: drawn with")
