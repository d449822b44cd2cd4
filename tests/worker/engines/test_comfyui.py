# SPDX-License-Identifier: AGPL-3.0-or-later
"""ComfyUI, as its protocol's documentation has it; and what becomes of its faults."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from worker.classifiers import save_classifier
from worker.engines.replay import replaying

from openhorde.worker.backends.base import (
    Adapter,
    Artifact,
    Cancelled,
    Embedding,
    JobFault,
    Note,
    PictureJob,
    TextJob,
)
from openhorde.worker.backends.comfyui.backend import ComfyBackend
from openhorde.worker.backends.comfyui.samplers import SAMPLERS
from openhorde.worker.backends.engine import Engine
from openhorde.worker.settings import WorkerSettings, load_settings

pytestmark = pytest.mark.recorded
MODEL = "v1-5-pruned-emaonly"
XL = "SDXL/sd_xl_base_1.0"


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two safety models: one finds every picture decent, one finds none so."""
    folder = tmp_path_factory.mktemp("judges")
    labels = ["sfw", "nsfw"]
    return {
        name: save_classifier(folder / name, labels, favourite)
        for favourite, name in enumerate(("easygoing", "strict"))
    }


@pytest.fixture
def settings(judges: dict[str, Path]) -> Callable[..., WorkerSettings]:
    """Settings for a ComfyUI at some address; the safety model is easygoing."""

    def make(url: str, **changes: Any) -> WorkerSettings:
        flags = {"comfyui_url": url, "backends": ["comfyui"], "safety_model": judges["easygoing"]}
        return load_settings(None, None, flags | changes)

    return make


Settings = Callable[..., WorkerSettings]


def job(**changes: Any) -> PictureJob:
    defaults: dict[str, Any] = {
        "id": "1",
        "model": MODEL,
        "prompt": "a red circle",
        "negative_prompt": "blue",
        "width_pixels": 64,
        "height_pixels": 128,
        "steps": 4,
        "seeds": [7],
    }
    return PictureJob(**(defaults | changes))


def draw(
    backend: ComfyBackend,
    given: PictureJob,
    report: Callable[[int, int], None] = lambda step, steps: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Artifact]:
    return backend.run(given, report, cancelled)


def png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def colour_at(artifact: Artifact, x: int, y: int) -> str:
    """The name of a colour, as near as WebP keeps it."""
    with Image.open(BytesIO(artifact.content)) as picture:
        assert picture.format == "WEBP"
        assert picture.size == (64, 128)
        colour: Any = picture.convert("RGB").getpixel((x, y))
    red, green, blue = colour
    return max((red, "red"), (green, "lime"), (blue, "blue"))[1]


async def test_pictures_are_drawn_in_a_process_of_its_own(settings: Settings) -> None:
    steps = []
    with replaying("comfyui_txt2img") as server:
        engine = Engine(settings(server.url), "comfyui")
        try:
            capabilities = await engine.open()
            artifacts = await engine.run(job(seeds=[7, 8]), 60, 5, lambda *step: steps.append(step))
        finally:
            await engine.close()
    assert capabilities.models == [MODEL, XL]
    assert capabilities.samplers == list(SAMPLERS)
    assert capabilities.features == [
        "img2img",
        "inpainting",
        "clip_skip",
        "lora",
        "textual_inversion",
    ]
    assert [one.seed for one in artifacts] == [7, 8]
    assert [colour_at(one, 5, 5) for one in artifacts] == ["red", "lime"]
    assert steps == [(1, 8), (4, 8), (5, 8), (8, 8)]


def test_loras_and_inversions_go_into_the_workflow_and_lost_ones_are_noted(
    settings: Settings,
) -> None:
    with replaying("comfyui_loras") as server:
        backend = ComfyBackend(settings(server.url, comfyui_models=[f"SDXL 1.0={XL}"]))
        assert backend.open().models == ["SDXL 1.0"]
        (artifact,) = draw(
            backend,
            job(
                model="SDXL 1.0",
                sampler="DDIM",
                clip_skip=2,
                loras=[
                    Adapter(name="ink", model=0.8, clip=0.5),
                    Adapter(name="lost"),
                    Adapter(name="styles/neon"),
                ],
                embeddings=[
                    Embedding(name="bad-hands", inject="negprompt", strength=1.2),
                    Embedding(name="gone", inject="prompt"),
                ],
            ),
        )
        with pytest.raises(JobFault, match=f"{MODEL} is not here"):
            draw(backend, job())
        with pytest.raises(JobFault, match="sampler k_new is not known"):
            draw(backend, job(model="SDXL 1.0", sampler="k_new"))
        with pytest.raises(JobFault, match="only draws"):
            backend.run(TextJob(id="1", model=MODEL, prompt="x"), lambda *_: None, lambda: False)
    assert artifact.notes == [
        Note(type="lora", value="download_failed", ref="lost"),
        Note(type="ti", value="download_failed", ref="gone"),
    ]


def test_a_picture_is_drawn_from_another_one(settings: Settings) -> None:
    source = png(Image.new("RGB", (256, 256), "blue"))
    with replaying("comfyui_img2img") as server:
        backend = ComfyBackend(settings(server.url))
        backend.open()
        (artifact,) = draw(backend, job(source=source, denoising_strength=0.6, karras=False))
    assert colour_at(artifact, 5, 5) == "red"


@pytest.mark.parametrize("transparent", [False, True])
def test_only_what_is_masked_is_drawn_anew(settings: Settings, transparent: bool) -> None:
    mask = Image.new("L", (64, 128), 0)
    mask.paste(255, (0, 32, 64, 128))
    source = Image.new("RGBA", (64, 128), "blue")
    if transparent:
        source.putalpha(mask.point(lambda value: 255 - value))
    sources = {"source": png(source), "mask": None if transparent else png(mask)}
    with replaying("comfyui_inpainting") as server:
        backend = ComfyBackend(settings(server.url))
        backend.open()
        (artifact,) = draw(backend, job(**sources, repaint=True, denoising_strength=1.0))
    assert (colour_at(artifact, 32, 8), colour_at(artifact, 32, 100)) == ("blue", "red")


def test_sources_that_cannot_be_used_fault_the_job(settings: Settings) -> None:
    with replaying("comfyui_open") as server:
        backend = ComfyBackend(settings(server.url))
        backend.open()
        with pytest.raises(JobFault, match="source_image: it cannot be read") as fault:
            draw(backend, job(source=b"no picture"))
        assert fault.value.notes == [Note(type="source_image", value="parse_failed")]


def test_only_the_own_workflow_is_stopped(settings: Settings) -> None:
    heard: list[Any] = []
    with replaying("comfyui_cancel") as server:
        backend = ComfyBackend(settings(server.url))
        backend.open()
        with pytest.raises(Cancelled):
            draw(backend, job(), lambda *step: heard.append(step), lambda: bool(heard))
        with pytest.raises(Cancelled):
            draw(backend, job(), cancelled=lambda: True)
    assert heard == [(1, 4)]


def test_faults_are_told_in_the_server_s_words(settings: Settings) -> None:
    reasons = []
    with replaying("comfyui_faults") as server:
        backend = ComfyBackend(settings(server.url))
        backend.open()
        for _ in range(7):
            with pytest.raises(JobFault) as fault:
                draw(backend, job())
            reasons.append(str(fault.value))
    assert reasons[0] == "ComfyUI answered 400: Prompt outputs failed validation"
    assert reasons[1] == "ComfyUI failed in KSampler: CUDA out of memory"
    assert reasons[2] == "ComfyUI was told by somebody else to stop"
    assert reasons[3].startswith("ComfyUI broke off while it drew")
    assert reasons[4] == "ComfyUI told something unreadable: what?"
    assert reasons[5] == "ComfyUI made no picture"
    assert reasons[6].startswith("ComfyUI answered a file that is no picture")


def test_every_picture_is_judged(settings: Settings, judges: dict[str, Path]) -> None:
    with replaying("comfyui_txt2img") as server:
        backend = ComfyBackend(settings(server.url, safety_model=judges["strict"]))
        backend.open()
        censored = draw(backend, job(seeds=[7, 8], censor=True))
    assert [one.censored for one in censored] == [True, True]
    assert censored[0].notes == [Note(type="censorship", value="nsfw")]
    assert censored[0].content == censored[1].content


def test_forbidden_words_are_not_drawn_at_all(settings: Settings) -> None:
    with replaying("comfyui_open") as server:
        backend = ComfyBackend(settings(server.url, censorlist=["circle"]))
        backend.open()
        (artifact,) = draw(backend, job(censor=True))
    assert artifact.censored


@pytest.mark.usefixtures("nothing_packaged")
def test_nothing_is_offered_that_nobody_can_judge(settings: Settings) -> None:
    with pytest.raises(RuntimeError, match=r"safety_model: set one, .*for ComfyUI does not judge"):
        ComfyBackend(settings("http://127.0.0.1:1", safety_model=None)).open()
