# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is done to pictures after they are drawn: in order, judged again, within bounds."""

from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from openhorde.worker.backends.base import Cancelled, JobFault
from openhorde.worker.forms import post_processors
from openhorde.worker.forms.rrdb import Measures, Rrdb
from openhorde.worker.safety.check import SafetyCheck

TWICE = "RealESRGAN_x2plus"
FOUR_TIMES = "RealESRGAN_x4plus"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, doublings in ((TWICE, 1), (FOUR_TIMES, 2)):
        torch.manual_seed(doublings)
        network = Rrdb(Measures(1, 8, 4, doublings, 1, 3))
        save_file(network.state_dict(), tmp_path / f"{name}.safetensors")
    return tmp_path


def sizes(artifacts: list[Any]) -> list[tuple[int, int]]:
    return [Image.open(BytesIO(one.content)).size for one in artifacts]


def test_every_picture_goes_through_the_whole_chain(open_studio: Any, folder: Path) -> None:
    studio = open_studio(post_processors_folder=folder)
    assert set(studio.capabilities.post_processors) == {TWICE, FOUR_TIMES}
    assert "post_processing" in studio.capabilities.features
    drawn = studio.draw(post_processing=[TWICE], seeds=[1, 2])
    assert sizes(drawn) == [(128, 128)] * 2
    assert [one.seed for one in drawn] == [1, 2]
    assert sizes(studio.draw(post_processing=[TWICE, FOUR_TIMES])) == [(512, 512)]
    held = studio.backend._studio.residents.held()
    assert {f"form:{TWICE}", f"form:{FOUR_TIMES}"} <= set(held)
    assert sizes(studio.draw()) == [(64, 64)]


def test_the_order_is_that_of_the_request(
    open_studio: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = open_studio(post_processors_folder=folder)
    done: list[tuple[str, dict[str, Any]]] = []

    def kind_of(name: str) -> Any:
        class Noted:
            parts: ClassVar[dict[str, Any]] = {}

            def __init__(self, settings: Any) -> None:
                pass

            def open(self) -> None:
                pass

            def run(self, picture: Image.Image, payload: dict[str, Any]) -> Image.Image:
                done.append((name, payload))
                return picture

        return Noted

    monkeypatch.setattr(
        "openhorde.worker.backends.diffusers.finishing.post_processor_kind", kind_of
    )
    studio.draw(post_processing=[FOUR_TIMES, TWICE], facefixer_strength=0.25)
    payload = {"facefixer_strength": 0.25}
    assert done == [(FOUR_TIMES, payload), (TWICE, payload)]


def test_what_is_not_here_faults_before_anything_is_drawn(open_studio: Any, folder: Path) -> None:
    studio = open_studio(post_processors_folder=folder)
    steps: list[int] = []
    for name in ("GFPGAN", "CodeFormers", "strip_background"):
        with pytest.raises(JobFault, match=f"the post-processor {name} is not here"):
            studio.draw(lambda step, _: steps.append(step), post_processing=[TWICE, name])
    assert steps == []


def test_a_picture_that_would_become_too_large_faults(open_studio: Any, folder: Path) -> None:
    studio = open_studio(post_processors_folder=folder, upscaled_megapixels_max=1)
    with pytest.raises(JobFault, match=f"{FOUR_TIMES}: the result would have 2048x512"):
        studio.draw(post_processing=[FOUR_TIMES], width_pixels=512, height_pixels=128, steps=1)


def test_a_picture_is_judged_before_and_after(
    open_studio: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = open_studio(post_processors_folder=folder)
    judged: list[tuple[int, int]] = []
    worst = (0, 0)

    def judge(self: SafetyCheck, picture: Image.Image, **asked: Any) -> str:
        judged.append(picture.size)
        return "nsfw" if picture.size == worst else "ok"

    monkeypatch.setattr(SafetyCheck, "judge", judge)
    (shown,) = studio.draw(post_processing=[TWICE], censor=True)
    assert (shown.censored, judged) == (False, [(64, 64), (128, 128)])
    worst = (128, 128)
    (hidden,) = studio.draw(post_processing=[TWICE], censor=True)
    assert hidden.censored
    assert sizes([hidden]) == [(128, 128)]
    judged.clear()
    worst = (64, 64)
    (hidden,) = studio.draw(post_processing=[TWICE], censor=True)
    assert (hidden.censored, judged) == (True, [(64, 64)])


def test_a_job_can_be_cancelled_between_pictures(open_studio: Any, folder: Path) -> None:
    studio = open_studio(post_processors_folder=folder)
    ends: list[int] = []

    def report(step: int, steps: int) -> None:
        if step == steps:
            ends.append(step)

    with pytest.raises(Cancelled):
        studio.draw(report, lambda: len(ends) >= 3, post_processing=[TWICE], seeds=[1, 2, 3])
    # The last step of drawing, and the first two pictures.
    assert len(ends) == 3


def test_alchemy_offers_the_same_post_processors(folder: Path) -> None:
    from openhorde.worker.backends.base import FormJob
    from openhorde.worker.backends.transformers.backend import TransformersBackend
    from openhorde.worker.settings import load_settings

    flags = {"post_processors_folder": folder, "models_folder": folder, "device": "cpu"}
    engine = TransformersBackend(load_settings(None, None, flags))
    offered = engine.open().forms
    assert {TWICE, FOUR_TIMES} <= set(offered)
    assert not set(offered) & set(post_processors.FACE_FIXERS)
    content = BytesIO()
    Image.effect_noise((30, 20), 50).convert("RGB").save(content, "PNG")
    job = FormJob(id="1", form=TWICE, source=content.getvalue())
    (made,) = engine.run(job, lambda step, steps: None, lambda: False)
    assert made.media_type == "image/webp"
    assert sizes([made]) == [(60, 40)]
