# SPDX-License-Identifier: AGPL-3.0-or-later
"""Each kind of work on the wire, and the names and offers of a worker that does several."""

import base64
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from starlette.responses import JSONResponse
from worker.fake_horde import picture

from openhorde.worker.agent import events
from openhorde.worker.agent.kinds.table import combined, kinds_wanted, worker_name
from openhorde.worker.backends.base import Capabilities
from openhorde.worker.settings import load_settings


async def test_a_form_is_popped_done_and_delivered(horde: Any, start_worker: Any) -> None:
    job_id = horde.offer_form("caption")
    worker = start_worker(kinds=["alchemy"])
    (delivered,) = await worker.heard(events.Delivered)
    assert delivered == events.Delivered(job_id, 12.5)
    (submit,) = horde.submits
    assert (submit["id"], submit["state"], submit["gen_metadata"]) == (job_id, "ok", [])
    assert list(submit["result"]) == ["caption"]
    assert isinstance(submit["result"]["caption"], str)
    (popped,) = worker.of(events.Popped)
    assert (popped.kind, popped.model, popped.what) == (
        "alchemy",
        "caption",
        "caption of a picture",
    )
    assert not horde.uploads


async def test_every_form_has_its_own_shape(horde: Any, start_worker: Any) -> None:
    ids = {form: horde.offer_form(form) for form in ("caption", "nsfw", "interrogation")}
    worker = start_worker(kinds=["alchemy"], queue_size=2)
    await worker.heard(events.Delivered, 3)
    results = {form: horde.submitted(job_id)[0]["result"][form] for form, job_id in ids.items()}
    assert isinstance(results["nsfw"], bool)
    assert {type(one["confidence"]) for one in results["interrogation"]["tags"]} == {float}


async def test_a_picture_form_is_uploaded(horde: Any, start_worker: Any) -> None:
    job_id = horde.offer_form("RealESRGAN_x2plus")
    worker = start_worker(kinds=["alchemy"])
    await worker.heard(events.Delivered)
    ((path, content),) = horde.uploads.items()
    assert path == f"/storage/{job_id}.webp?sign=x%2Fy"
    assert Image.open(BytesIO(content)).size == (16, 16)
    assert horde.submitted(job_id)[0]["result"] == {"RealESRGAN_x2plus": "R2"}


@pytest.mark.parametrize("upload", [None, "{url}/storage/x"])
async def test_a_picture_form_without_a_place_travels_in_the_submit(
    horde: Any, start_worker: Any, upload: str | None
) -> None:
    horde.upload_statuses.extend([403, 403, 403])
    address = upload.format(url=horde.url) if upload else None
    job_id = horde.offer_form("strip_background", r2_upload=address)
    worker = start_worker(kinds=["alchemy"])
    await worker.heard(events.Delivered)
    value = horde.submitted(job_id)[0]["result"]["strip_background"]
    assert Image.open(BytesIO(base64.b64decode(value))).mode == "RGBA"


async def test_many_forms_of_one_picture_come_in_one_pop_and_fetch_it_once(
    horde: Any, start_worker: Any
) -> None:
    horde.sources["in.png"] = picture()
    for form in ("caption", "nsfw", "interrogation"):
        horde.offer_form(form, f"{horde.url}/source/in.png")
    worker = start_worker(kinds=["alchemy"], queue_size=3)
    await worker.heard(events.Delivered, 3)
    assert horde.pops_of["alchemy"][0]["amount"] == 4
    assert horde.source_gets == 1


async def test_one_broken_form_leaves_the_others(horde: Any, start_worker: Any) -> None:
    broken = {
        horde.offer_form("caption", f"{horde.url}/source/absent.png"): "404",
        horde.offer_form("caption", "%%%"): "base64",
        horde.offer_form("caption", base64.b64encode(b"no picture").decode()): "cannot be read",
        horde.offer_form("from_the_future"): "from_the_future",
        horde.offer_form("caption", 5): "source_image",
    }
    well = horde.offer_form("caption")
    worker = start_worker(kinds=["alchemy"], queue_size=8)
    (delivered,) = await worker.heard(events.Delivered)
    faults = await worker.heard(events.Faulted, len(broken))
    assert delivered.id == well
    assert {fault.id for fault in faults} == set(broken)
    for job_id, word in broken.items():
        (submit,) = horde.submitted(job_id)
        assert (submit["state"], submit["result"]) == ("faulted", {})
        assert word in submit["gen_metadata"][-1]["ref"]


async def test_a_text_is_popped_written_and_delivered(horde: Any, start_worker: Any) -> None:
    (job_id,) = horde.offer_text()
    worker = start_worker(kinds=["text"])
    await worker.heard(events.Delivered)
    (submit,) = horde.submits
    assert (submit["id"], submit["state"]) == (job_id, "ok")
    assert len(submit["generation"].split()) == 16
    (popped,) = worker.of(events.Popped)
    assert (popped.kind, popped.what) == ("text", "16 tokens of text, 2048 in all")


async def test_each_text_of_a_prompt_is_a_job_of_its_own(horde: Any, start_worker: Any) -> None:
    ids = horde.offer_text(texts=3)
    worker = start_worker(kinds=["text"], queue_size=2)
    await worker.heard(events.Delivered, 3)
    assert {one["id"] for one in horde.submits} == set(ids)
    assert horde.pops_of["text"][0]["amount"] == 3


async def test_a_text_job_that_cannot_be_done_is_told(horde: Any, start_worker: Any) -> None:
    odd = {
        horde.offer_text(model="another")[0]: "another",
        horde.offer_text(temperature="hot")[0]: "temperature",
    }
    worker = start_worker(kinds=["text"])
    await worker.heard(events.Faulted, len(odd))
    for job_id, word in odd.items():
        (submit,) = horde.submitted(job_id)
        assert submit["state"] == "faulted"
        assert word in submit["gen_metadata"][0]["ref"]


async def test_pictures_beside_a_prompt_are_passed_over_and_said_to_be(
    horde: Any, start_worker: Any
) -> None:
    (job_id,) = horde.offer_text(extra_source_images=[{"image": "x"}])
    worker = start_worker(kinds=["text"])
    await worker.heard(events.Delivered)
    (submit,) = horde.submitted(job_id)
    assert submit["state"] == "ok"
    assert "were not looked at" in submit["gen_metadata"][0]["ref"]


@pytest.mark.parametrize("kind", ["alchemy", "text"])
async def test_junk_answers_are_outlived(horde: Any, start_worker: Any, kind: str) -> None:
    junk: list[Any] = [5, [], {"forms": 5, "ids": 5}, {"forms": [5], "ids": [5]}, {"ids": {"a": 1}}]
    horde.answers_of[kind].extend(JSONResponse(one) for one in junk)
    worker = start_worker(kinds=[kind])
    await worker.heard(events.Idle)
    job_id = horde.offer_form("nsfw") if kind == "alchemy" else horde.offer_text()[0]
    (delivered,) = await worker.heard(events.Delivered)
    assert delivered.id == job_id
    assert all(one.kind == kind for one in worker.of(events.Trouble))


async def test_settings_narrow_what_is_asked_for(horde: Any, start_worker: Any) -> None:
    worker = start_worker(
        kinds=["alchemy", "text"],
        forms=["caption", "sing"],
        max_power=300,
        max_length=100,
        max_context_length=10_000,
        scribe_name="Bob's pen",
    )
    await worker.heard(events.Idle, 2)
    forms, text = horde.pops_of["alchemy"][0], horde.pops_of["text"][0]
    assert (forms["name"], forms["forms"]) == ("An openhorde worker", ["caption"])
    assert forms["max_tiles"] == 256
    assert (text["name"], text["models"]) == ("Bob's pen", ["fake-writer"])
    assert (text["max_length"], text["max_context_length"]) == (100, 4096)


def named(**settings: Any) -> dict[str, str]:
    given = load_settings(None, None, {"worker_name": "Bob's box", **settings})
    return {kind: worker_name(given, kind) for kind in kinds_wanted(given)}


def test_each_kind_has_a_name_of_its_own() -> None:
    assert named(backends=["openai"]) == {"text": "Bob's box"}
    assert named(backends=["fake"]) == {
        "image": "Bob's box",
        "alchemy": "Bob's box alchemist",
        "text": "Bob's box scribe",
    }
    assert named(backends=["transformers"], alchemist_name="Al") == {
        "alchemy": "Al",
        "text": "Bob's box",
    }
    assert named(backends=["fake"], kinds=["text"], scribe_name="Pen") == {"text": "Pen"}
    long = named(backends=["fake"], worker_name="x" * 100)
    assert len(set(long.values())) == 3
    assert max(map(len, long.values())) == 100


def test_engines_offer_together_what_any_has_and_promise_what_all_can() -> None:
    one = Capabilities(models=["a", "b"], features=["img2img", "lora"], pixels_max=1000)
    two = Capabilities(models=["b", "c"], features=["lora", "tiling"], pixels_max=None)
    other = Capabilities(text_models=["t"], tokens_max=5, context_tokens_max=50)
    pictures = combined([one, two, other], "image")
    assert (pictures.models, pictures.features) == (["a", "b", "c"], ["lora"])
    assert pictures.pixels_max == 1000
    assert combined([one, other], "text").tokens_max == 5
    assert combined([one], "alchemy") == Capabilities()
