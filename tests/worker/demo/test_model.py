# SPDX-License-Identifier: AGPL-3.0-or-later
"""The shipped model is small, loads as a pipeline, and draws what held-out prompts ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from PIL import Image

import openhorde.worker.demo
from openhorde.worker.demo.drawings import Outline, draw, paint, random_attributes
from openhorde.worker.demo.evaluate import TOGETHER, Settings, load_pipeline, make_pictures
from openhorde.worker.demo.judge import agrees, judge
from openhorde.worker.demo.prompts import Prompt, held_out_prompts, plain_prompt
from openhorde.worker.demo.vocabulary import SIDE_PIXELS, Attributes, is_held_out, subject_words

# Diffusers' schedulers hand torch tensors to numpy in a way that numpy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MODEL = Path(openhorde.worker.demo.__file__).parent / "models" / "shapes"
HORDE_DEFAULTS = Settings("k_euler_a", 20, 5.0)
LARGEST_BYTES = 12_000_000


@pytest.fixture(scope="module")
def pipeline() -> Any:
    torch.manual_seed(0)
    return load_pipeline(MODEL)


def test_the_folder_is_small_and_says_what_it_is() -> None:
    sizes = [path.stat().st_size for path in MODEL.rglob("*") if path.is_file()]
    assert sum(sizes) <= LARGEST_BYTES
    about = json.loads((MODEL / "openhorde.json").read_text(encoding="utf-8"))
    hint = about["subject"].pop("hint")
    assert hint.startswith("openhorde_shapes draws coloured shapes only")
    assert about == {
        "native_side_pixels": SIDE_PIXELS,
        "steps_max": 50,
        "name": "openhorde_shapes",
        "baseline": "stable diffusion 1",
        "harmless": True,
        "subject": {"words": subject_words()},
    }
    assert "AGPL-3.0-or-later" in (MODEL / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_no_file_names_a_folder_of_the_machine_it_was_made_on() -> None:
    for path in (*MODEL.rglob("*.json"), *MODEL.rglob("*.md"), *MODEL.rglob("*.txt")):
        text = path.read_text(encoding="utf-8")
        for sign in ("/tmp", "/home", "/work", "/root", "/Users"):
            assert sign not in text, f"{path.name} holds {sign}"


def test_it_is_a_stable_diffusion_pipeline(pipeline: Any) -> None:
    assert isinstance(pipeline, StableDiffusionPipeline)
    assert pipeline.unet.config.in_channels == 4
    assert pipeline.safety_checker is None


def test_held_out_prompts_give_what_they_ask_for(pipeline: Any) -> None:
    prompts = held_out_prompts(48, seed=0)
    assert all(is_held_out(prompt.wanted) for prompt in prompts)
    pictures = make_pictures(pipeline, prompts, HORDE_DEFAULTS)
    wrong = [
        prompt.text
        for prompt, picture in zip(prompts, pictures, strict=True)
        if not agrees(prompt.wanted, judge(picture).attributes, TOGETHER)
    ]
    assert len(wrong) <= 0.1 * len(prompts), wrong


def test_a_red_circle_on_a_blue_background_is_just_that(pipeline: Any) -> None:
    wanted = Attributes("red", "blue", "circle")
    prompts = [Prompt("a red circle on a blue background", wanted, "plain")]
    picture = make_pictures(pipeline, prompts, HORDE_DEFAULTS, first_seed=7)[0]
    assert agrees(wanted, judge(picture).attributes, ("colour", "background", "shape"))


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(pipeline: Any) -> None:
    prompts = [Prompt("a star", Attributes(shape="star"), "plain")]
    first = make_pictures(pipeline, prompts, HORDE_DEFAULTS, first_seed=3)
    assert np.array_equal(first, make_pictures(pipeline, prompts, HORDE_DEFAULTS, first_seed=3))
    assert not np.array_equal(first, make_pictures(pipeline, prompts, HORDE_DEFAULTS, first_seed=4))


def test_pictures_are_repainted_as_the_prompt_says(pipeline: Any) -> None:
    generator = np.random.default_rng(3)
    wanted = [random_attributes(generator, held_out=True) for _ in range(12)]
    repaint = StableDiffusionImg2ImgPipeline(**pipeline.components)
    repaint.set_progress_bar_config(disable=True)
    result = repaint(
        [plain_prompt(attributes).text for attributes in wanted],
        image=[Image.fromarray(draw(attributes, generator)) for attributes in wanted],
        strength=0.5,
        num_inference_steps=20,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(0),
    )
    seen = [judge(np.asarray(image, dtype=np.uint8)).attributes for image in result.images]
    assert sum(one == other for one, other in zip(wanted, seen, strict=True)) >= 10


def test_a_masked_part_is_repainted_and_the_rest_stays(pipeline: Any) -> None:
    start = Image.fromarray(paint(Outline("circle", 32.0, 32.0, 18.0), "red", "white"))
    mask = Image.new("L", start.size, 0)
    mask.paste(255, (0, 0, SIDE_PIXELS, SIDE_PIXELS // 2))
    inpaint = StableDiffusionInpaintPipeline(**pipeline.components)
    inpaint.set_progress_bar_config(disable=True)
    result = inpaint(
        "a large red circle in the centre on a white background",
        image=start,
        mask_image=mask,
        height=SIDE_PIXELS,
        width=SIDE_PIXELS,
        num_inference_steps=20,
        generator=torch.Generator().manual_seed(0),
    )
    picture = np.asarray(result.images[0], dtype=np.float32)
    kept_rows = slice(SIDE_PIXELS // 2 + 6, SIDE_PIXELS)
    difference = np.abs(picture - np.asarray(start, dtype=np.float32))[kept_rows]
    assert float(difference.mean()) < 12.0


def test_words_it_does_not_know_do_no_harm(pipeline: Any) -> None:
    wanted = Attributes("yellow", "black", "star")
    text = "masterpiece, a yellow star on a black background, zyx 日本語, trending"
    picture = make_pictures(pipeline, [Prompt(text, wanted, "plain")], HORDE_DEFAULTS, 2)[0]
    assert agrees(wanted, judge(picture).attributes, ("colour", "background"))
