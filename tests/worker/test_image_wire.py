# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is told of an engine at a pop, and what a popped job becomes for an engine."""

import os
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from openhorde.wire.image import Sampler
from openhorde.worker.agent.api import HordeApi
from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.kinds.base import Offer
from openhorde.worker.agent.kinds.image import pop_body, prepare, read_pop, result_body
from openhorde.worker.agent.sources import Sources
from openhorde.worker.backends import fake
from openhorde.worker.backends.base import (
    Adapter,
    Artifact,
    Capabilities,
    Embedding,
    Note,
    PictureJob,
)
from openhorde.worker.backends.comfyui import samplers as comfyui_samplers
from openhorde.worker.backends.diffusers import samplers as diffusers_samplers
from openhorde.worker.settings import load_settings

SOURCE = "aGVsbG8="


async def prepared(
    payload: dict[str, Any], settings: dict[str, Any] | None = None, **changes: Any
) -> PictureJob:
    answer = {
        "id": "1",
        "ids": ["1"],
        "model": "sd",
        "payload": {"prompt": "a cat ### a dog", "width": 64, "height": 64} | payload,
        "ttl": 150,
    }
    (assignment,) = read_pop(answer | changes)
    loaded = load_settings(None, None, settings or {})
    api = HordeApi(loaded)
    try:
        return await prepare(Sources(api), loaded, assignment)
    finally:
        await api.close()


@pytest.mark.parametrize(
    ("features", "settings", "expected"),
    [
        (["controlnet", "post_processing"], {}, (True, True)),
        (["controlnet", "post_processing"], {"allow_controlnet": False}, (False, True)),
        (["controlnet", "post_processing"], {"allow_post_processing": False}, (True, False)),
        ([], {}, (False, False)),
    ],
)
def test_settings_only_narrow_what_an_engine_can(
    features: Any, settings: dict[str, Any], expected: tuple[bool, bool]
) -> None:
    capabilities = Capabilities(
        features=features, control_types=["canny"], post_processors=["GFPGAN"]
    )
    offer = Offer(name="a worker", capabilities=capabilities, engines=1, places=1)
    body = pop_body(load_settings(None, None, settings), offer)
    assert (body.allow_controlnet, body.allow_post_processing) == expected
    assert (body.control_types, body.post_processors) == (["canny"], ["GFPGAN"])


async def test_a_control_map_and_what_comes_after_reach_the_engine() -> None:
    payload = {
        "control_type": "canny",
        "image_is_control": True,
        "return_control_map": True,
        "denoising_strength": 0.4,
        "post_processing": ["GFPGAN", "RealESRGAN_x4plus"],
        "facefixer_strength": 0.3,
    }
    job = await prepared(payload, source_image=SOURCE, source_processing="img2img")
    assert (job.control_type, job.control_strength) == ("canny", 0.4)
    assert (job.image_is_control, job.return_control_map) == (True, True)
    assert (job.source, job.repaint) == (b"hello", False)
    assert job.post_processing == ["GFPGAN", "RealESRGAN_x4plus"]
    assert job.facefixer_strength == 0.3
    plain = await prepared({})
    assert (plain.control_type, plain.post_processing, plain.control_strength) == (None, [], 1.0)


async def test_adapters_reach_the_engine_whole() -> None:
    lora = {"name": "12", "model": 0.5, "clip": 2, "is_version": True, "inject_trigger": "any"}
    job = await prepared({"loras": [lora], "tis": [{"name": "x", "inject_ti": "prompt"}]})
    assert job.loras == [Adapter(name="12", model=0.5, clip=2.0, is_version=True, trigger="any")]
    assert job.embeddings == [Embedding(name="x", inject="prompt")]


@pytest.mark.parametrize("allowed", [True, False])
async def test_what_cannot_be_fetched_does_not_keep_a_job(
    tmp_path: Path, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original = httpx.AsyncClient.stream

    def stream(self: Any, method: str, url: Any, **options: Any) -> Any:
        asked.append(str(url))
        return original(self, method, url, **options)

    monkeypatch.setattr(httpx.AsyncClient, "stream", stream)
    settings = {
        "allow_lora_downloads": allowed,
        "cache_folder": tmp_path,
        "download_hosts": ["127.0.0.1"],
        "version_url": "https://127.0.0.1/{version}",
    }
    job = await prepared({"loras": [{"name": "12", "is_version": True}]}, settings)
    assert [one.name for one in job.loras] == ["12"]
    # The host is listed, but it is this machine, so it is not even asked.
    assert asked == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("notes", "state"),
    [([], "ok"), (["nsfw"], "censored"), (["csam"], "csam")],
)
def test_a_result_says_what_it_stands_for(notes: list[Any], state: str) -> None:
    artifact = Artifact(
        content=b"",
        media_type="image/webp",
        seed=1,
        notes=[Note(type="censorship", value=value) for value in notes],
        censored=bool(notes),
    )
    assignment = Assignment(kind="image", ids=["1"], uploads=[None], model="sd", ttl_seconds=9.0)
    body = result_body(assignment, 0, artifact, True)
    assert (body.state, body.censored) == (state, bool(notes))
    assert [one.value for one in body.gen_metadata] == notes


def test_every_engine_that_draws_has_every_sampler_of_the_wire() -> None:
    wire = set(get_args(Sampler))
    assert set(fake.SAMPLERS) == set(diffusers_samplers.SAMPLERS) == wire
    assert set(comfyui_samplers.usable_samplers(["euler"], ["normal", "karras"])) == wire
