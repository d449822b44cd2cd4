# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a job can ask for, and that it makes a difference."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from openhorde.worker.agent import events
from openhorde.worker.backends.base import Cancelled, JobFault, Note
from openhorde.worker.backends.diffusers.prompts import condition
from openhorde.worker.backends.diffusers.sizes import within
from openhorde.worker.backends.diffusers.tiling import seamless
from openhorde.worker.backends.pictures import UNMASKED


def test_guidance_and_both_prompts_make_a_difference(studio: Any) -> None:
    guided = studio.content()
    assert studio.content(cfg_scale=9.0) != guided
    assert studio.content(prompt="a green square") != guided
    assert studio.content(negative_prompt="yellow") != guided
    unguided = studio.content(cfg_scale=1.0)
    assert studio.content(cfg_scale=0.0) == unguided != guided
    assert studio.content(cfg_scale=1.0, negative_prompt="yellow") == unguided


def test_the_strength_says_how_much_of_a_source_is_left(
    studio: Any, source: Image.Image, encoded: Any
) -> None:
    start = encoded(source)
    drawn = [
        studio.content(source=start, steps=10, denoising_strength=strength)
        for strength in (0.01, 0.5, 1.0)
    ]
    assert len(set(drawn)) == 3
    assert len(studio.draw(source=start, seeds=[1, 2])) == 2


def test_only_what_the_mask_shows_is_drawn_anew(
    studio: Any, source: Image.Image, encoded: Any, difference: Any
) -> None:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    drawn = studio.picture(source=encoded(source), mask=encoded(mask), repaint=True)
    left, right = (0, 0, 32, 64), (40, 0, 64, 64)
    assert difference(drawn.crop(right), source.crop(right)) < 10
    assert difference(drawn.crop(left), source.crop(left)) > 20


def test_without_a_mask_the_transparent_parts_are_drawn(
    studio: Any, source: Image.Image, encoded: Any, difference: Any
) -> None:
    alpha = Image.new("L", (64, 64), 255)
    alpha.paste(0, (0, 0, 32, 64))
    holed = source.copy()
    holed.putalpha(alpha)
    drawn = studio.picture(source=encoded(holed), repaint=True)
    right = (40, 0, 64, 64)
    assert difference(drawn.crop(right), source.crop(right)) < 10
    (anew,) = studio.draw(source=encoded(source), repaint=True)
    assert [note.ref for note in anew.notes] == [UNMASKED]


def test_transparent_parts_draw_the_very_same_as_a_mask(
    studio: Any, source: Image.Image, encoded: Any
) -> None:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    holed = source.copy()
    holed.putalpha(mask.point(lambda value: 255 - value))
    by_mask = studio.content(source=encoded(source), mask=encoded(mask), repaint=True)
    assert studio.content(source=encoded(holed), repaint=True) == by_mask


def test_a_source_that_is_no_picture_is_told(studio: Any) -> None:
    with pytest.raises(JobFault) as caught:
        studio.draw(source=b"no picture")
    assert caught.value.notes == [Note(type="source_image", value="parse_failed")]


def test_clip_skip_takes_an_earlier_layer(studio: Any) -> None:
    drawn = [studio.content(clip_skip=skip) for skip in (1, 2, 3)]
    assert len(set(drawn)) == 3
    assert len(studio.draw(clip_skip=12)) == 1


def test_embeddings_are_those_of_diffusers(studio: Any) -> None:
    pipeline = studio.model("tiny").from_text
    ours: Any = condition(pipeline, "a red circle", "blue", 1, True)
    theirs = pipeline.encode_prompt("a red circle", "cpu", 1, True, "blue")
    assert torch.allclose(ours.prompt, theirs[0], atol=1e-5)
    assert torch.allclose(ours.negative, theirs[1], atol=1e-5)
    pipeline = studio.model("tiny-xl").from_text
    ours = condition(pipeline, "a red circle", "", 1, True)
    theirs = pipeline.encode_prompt("a red circle", device="cpu", negative_prompt=None)
    assert torch.allclose(ours.prompt, theirs[0], atol=1e-5)
    assert torch.allclose(ours.negative, theirs[1], atol=1e-5)
    assert torch.allclose(ours.pooled, theirs[2], atol=1e-5)
    assert torch.allclose(ours.negative_pooled, theirs[3], atol=1e-5)


def test_no_word_of_a_long_prompt_is_lost(studio: Any) -> None:
    long = "a red circle " * 40
    assert studio.content(prompt=long + "green") != studio.content(prompt=long + "blue")
    assert len(studio.draw(prompt="x " * 10_000)) == 1


def test_hires_fix_draws_twice(studio: Any) -> None:
    large = {"width_pixels": 128, "height_pixels": 64, "steps": 4}
    steps = []
    drawn = studio.draw(lambda step, _: steps.append(step), seeds=[1, 2], hires_fix=True, **large)
    assert [Image.open(BytesIO(one.content)).size for one in drawn] == [(128, 64)] * 2
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, 4)
    assert studio.content(hires_fix=True, **large) != studio.content(**large)
    assert studio.content(hires_fix=True) == studio.content()


def test_tiling_wraps_around_and_is_undone(studio: Any) -> None:
    plain = studio.content()
    assert studio.content(tiling=True) != plain
    assert studio.content() == plain


def test_where_a_tile_begins_makes_no_difference(studio: Any) -> None:
    """What wraps around draws a shifted picture of a shifted beginning."""
    vae = studio.model("tiny").from_text.vae
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))

    def off_by() -> float:
        with torch.inference_mode():
            plain = vae.decode(latents).sample
            shifted = vae.decode(latents.roll(4, dims=3)).sample
        return float((shifted - plain.roll(32, dims=3)).abs().max())

    with seamless(vae):
        assert off_by() < 1e-4
    assert off_by() > 1e-2


def test_a_source_is_not_drawn_twice(studio: Any, source: Image.Image, encoded: Any) -> None:
    over = {"source": encoded(source), "width_pixels": 128, "height_pixels": 128}
    assert studio.content(hires_fix=True, **over) == studio.content(**over)


def test_a_model_that_draws_small_is_enlarged(
    studio: Any, source: Image.Image, encoded: Any
) -> None:
    drawn = studio.picture(model="small only", width_pixels=256, height_pixels=128)
    assert drawn.size == (256, 128)
    mask = encoded(Image.new("L", (64, 64), 255))
    over = {"model": "small only", "width_pixels": 128, "height_pixels": 128}
    masked = studio.picture(source=encoded(source), mask=mask, repaint=True, **over)
    assert masked.size == (128, 128)


@pytest.mark.parametrize(
    ("asked", "side", "drawn"),
    [
        ((512, 512), 64, (64, 64)),
        ((1024, 512), 64, (88, 48)),
        ((64, 64), 64, (64, 64)),
        ((3072, 64), 64, (440, 8)),
        ((512, 768), 1024, (512, 768)),
    ],
)
def test_a_shape_keeps_its_shape(asked: tuple[int, int], side: int, drawn: tuple[int, int]) -> None:
    assert within(*asked, side, 8) == drawn


@pytest.mark.parametrize("sampler", ["k_euler_a", "k_dpmpp_2m"])
def test_an_xl_model_draws_too(
    studio: Any, sampler: str, source: Image.Image, encoded: Any
) -> None:
    over = {"model": "tiny-xl", "sampler": sampler}
    assert studio.content(**over) == studio.content(**over)
    assert studio.content(clip_skip=2, **over) != studio.content(**over)
    assert len(studio.draw(source=encoded(source), seeds=[1, 2], **over)) == 2
    mask = encoded(Image.new("L", (64, 64), 255))
    assert len(studio.draw(source=encoded(source), mask=mask, repaint=True, **over)) == 1
    large = {"width_pixels": 128, "height_pixels": 128, "hires_fix": True}
    assert len(studio.draw(seeds=[1, 2], **large, **over)) == 2


def test_only_what_must_be_censored_is_checked(studio: Any) -> None:
    (plain,) = studio.draw(model="careful")
    assert not plain.censored
    (hidden,) = studio.draw(model="careful", censor=True)
    assert hidden.censored
    assert hidden.notes == [Note(type="censorship", value="nsfw")]
    assert Image.open(BytesIO(hidden.content)).size == (64, 64)
    assert hidden.content == studio.content(model="careful", censor=True, seeds=[8])
    (decent,) = studio.draw(censor=True)
    assert not decent.censored


def test_a_job_can_be_cancelled_between_steps(studio: Any) -> None:
    steps: list[int] = []
    with pytest.raises(Cancelled):
        studio.draw(lambda step, _: steps.append(step), lambda: len(steps) >= 4, steps=30)
    assert len(steps) == 4


@pytest.mark.parametrize("changes", [{"model": "absent"}, {"sampler": "k_new"}])
def test_what_is_not_here_is_a_fault(studio: Any, changes: dict[str, str]) -> None:
    with pytest.raises(JobFault, match=next(iter(changes.values()))):
        studio.draw(**changes)


async def test_a_worker_draws_with_it(
    horde: Any, start_worker: Any, models_folder: Path, easygoing: Path
) -> None:
    job_ids = horde.offer(pictures=2, model="tiny", sampler_name="k_dpmpp_2m", karras=True)
    worker = start_worker(
        backend="diffusers",
        models_folder=models_folder,
        safety_model=easygoing,
        device="cpu",
        cpu_threads=1,
    )
    await worker.heard(events.Delivered, 2)
    assert horde.pops[0]["models"] == ["careful", "small only", "tiny", "tiny-xl"]
    assert horde.pops[0]["allow_painting"] is True
    assert horde.pops[0]["allow_lora"] is False
    assert len(horde.uploads) == 2
    assert {one["id"] for one in horde.submits} == set(job_ids)
    assert worker.of(events.Progress)[-1].step == 2
