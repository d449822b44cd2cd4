# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every sampler of the wire, with and without karras sigmas, and what a seed promises."""

import itertools
import json
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

import openhorde.worker.demo
from openhorde.wire.image import Sampler
from openhorde.worker.backends.diffusers.samplers import SAMPLERS, make_scheduler

DEMO = Path(openhorde.worker.demo.__file__).parent / "models"
SHAPES_SCHEDULER = DEMO / "shapes" / "scheduler" / "scheduler_config.json"


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


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_schedule_has_numbers_only(studio: Any, sampler: str) -> None:
    config = studio.model("tiny").scheduler_config
    for shipped in (config, json.loads(SHAPES_SCHEDULER.read_bytes())):
        for karras, steps in itertools.product((False, True), (1, 2, 3, 4, 7, 50, 500)):
            told = max(steps, SAMPLERS[sampler].steps_min)
            scheduler = make_scheduler(shipped, sampler, karras, [1], told)
            scheduler.set_timesteps(told)
            assert torch.isfinite(scheduler.timesteps).all(), (karras, steps)


@pytest.mark.parametrize("sampler", ["k_euler", "k_dpmpp_2m", "k_heun", "k_lms", "k_dpm_2"])
def test_karras_means_the_spacing_of_karras(studio: Any, sampler: str) -> None:
    config = studio.model("tiny").scheduler_config
    steps: dict[bool, Any] = {}
    for karras in (True, False):
        scheduler = make_scheduler(config, sampler, karras, [1], 4)
        scheduler.set_timesteps(8)
        steps[karras] = sorted({round(float(sigma), 5) for sigma in scheduler.sigmas} - {0.0})
    # Sigmas to the power of one seventh are evenly spaced.
    roots = np.array(steps[True]) ** (1 / 7)
    assert np.allclose(np.diff(roots), np.diff(roots)[0], rtol=1e-3)
    roots = np.array(steps[False]) ** (1 / 7)
    assert not np.allclose(np.diff(roots), np.diff(roots)[0], rtol=1e-2)
