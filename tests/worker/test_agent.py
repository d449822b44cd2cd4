# SPDX-License-Identifier: AGPL-3.0-or-later
"""The agent against a horde that is not always well."""

import asyncio
import base64
import json
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from starlette.responses import JSONResponse, PlainTextResponse, Response

from openhorde.worker.agent import events
from openhorde.worker.backends.fake import fails


def error(status: int, message: str, rc: str | None = None, **headers: str) -> JSONResponse:
    return JSONResponse({"message": message, "rc": rc}, status_code=status, headers=headers)


async def test_a_job_is_popped_drawn_uploaded_and_delivered(horde: Any, start_worker: Any) -> None:
    (job_id,) = horde.offer(width=128)
    worker = start_worker()
    (delivered,) = await worker.heard(events.Delivered)
    assert delivered == events.Delivered(job_id, 12.5)
    (path,) = horde.uploads
    assert path == f"/storage/a%2Fb/{job_id}.webp?sign=x%2Fy+z=&e=1"
    picture = Image.open(BytesIO(horde.uploads[path]))
    assert (picture.format, picture.size) == ("WEBP", (128, 64))
    (submit,) = horde.submits
    assert submit == {
        "id": job_id,
        "generation": "R2",
        "state": "ok",
        "seed": 7,
        "censored": False,
        "gen_metadata": [],
    }
    assert horde.submit_headers[0]["apikey"] == "a-key-of-the-owner"
    assert horde.submit_headers[0]["client-agent"].startswith("openhorde worker:")
    for name in ("apikey", "client-agent", "content-type", "authorization"):
        assert name not in horde.upload_headers[0]
    assert await worker.drained() == 0
    assert worker.of(events.Started) == [events.Started(["stable_diffusion"])]
    assert worker.events[-1] == events.Stopped(0)


async def test_the_pop_tells_which_jobs_the_worker_holds(horde: Any, start_worker: Any) -> None:
    horde.submits_gate.clear()
    ids = sorted([*horde.offer(), *horde.offer()])
    worker = start_worker()
    await horde.until(lambda: any(pop["holding"] == ids for pop in horde.pops))
    assert horde.pops[0]["holding"] == []
    horde.submits_gate.set()
    await worker.heard(events.Delivered, 2)
    await horde.until(lambda: horde.pops[-1]["holding"] == [])


async def test_the_pop_tells_what_the_engine_can_and_the_owner_wants(
    horde: Any, start_worker: Any
) -> None:
    worker = start_worker(
        worker_name="Bob's cellar",
        models_to_load=["one model", "two models"],
        max_power=2,
        max_batch=4,
        allow_img2img=False,
        allow_unsafe_ip=False,
        nsfw=False,
        blacklist=["war"],
    )
    await worker.heard(events.Idle, 2)
    pop = horde.pops[0]
    assert pop["name"] == "Bob's cellar"
    assert pop["models"] == ["one model", "two models"]
    assert pop["max_pixels"] == 65536
    assert pop["amount"] == 4
    assert pop["bridge_agent"].startswith("openhorde worker:0.1.0:http://")
    assert pop["allow_painting"] is True
    assert pop["blacklist"] == ["war"]
    for name in ("allow_img2img", "allow_unsafe_ipaddr", "nsfw", "allow_lora", "allow_controlnet"):
        assert pop[name] is False, name
    assert worker.of(events.Idle)[0].skipped == {"models": 3}


async def test_each_picture_of_a_batch_is_delivered_with_its_own_seed(
    horde: Any, start_worker: Any
) -> None:
    ids = horde.offer(pictures=3, seed="4294967295")
    worker = start_worker(max_batch=3)
    await worker.heard(events.Delivered, 3)
    seeds = [horde.submitted(job_id)[0]["seed"] for job_id in ids]
    assert seeds == [4294967295, 0, 1]
    metadata = horde.submitted(ids[1])[0]["gen_metadata"]
    assert metadata == [{"type": "batch_index", "value": "see_ref", "ref": "1"}]
    assert len(set(horde.uploads.values())) == 3


async def test_the_same_seed_is_the_same_picture(horde: Any, start_worker: Any) -> None:
    horde.offer(seed="5")
    horde.offer(seed="5")
    horde.offer(seed="6")
    worker = start_worker()
    await worker.heard(events.Delivered, 3)
    assert len(set(horde.uploads.values())) == 2


async def test_an_upload_is_tried_thrice_then_travels_in_the_submit(
    horde: Any, start_worker: Any
) -> None:
    horde.upload_statuses.extend([500, 204, 403])
    (job_id,) = horde.offer()
    worker = start_worker()
    await worker.heard(events.Delivered)
    assert not horde.uploads
    generation = horde.submitted(job_id)[0]["generation"]
    assert Image.open(BytesIO(base64.b64decode(generation))).size == (64, 64)


async def test_a_failed_upload_is_repeated(horde: Any, start_worker: Any) -> None:
    horde.upload_statuses.extend([500, 503])
    (job_id,) = horde.offer()
    worker = start_worker()
    await worker.heard(events.Delivered)
    assert len(horde.uploads) == 1
    assert horde.submitted(job_id)[0]["generation"] == "R2"


async def test_without_an_address_the_picture_travels_in_the_submit(
    horde: Any, start_worker: Any
) -> None:
    (job_id,) = horde.offer(r2_uploads=None, r2_upload=None)
    worker = start_worker()
    await worker.heard(events.Delivered)
    assert len(horde.submitted(job_id)[0]["generation"]) > 10


async def test_a_submit_is_repeated_while_the_horde_is_unwell(
    horde: Any, start_worker: Any
) -> None:
    horde.submit_answers.extend(
        [
            error(500, "Internal Server Error"),
            PlainTextResponse("bad gateway", status_code=502),
            error(429, "2 per 1 second", **{"Retry-After": "0"}),
            PlainTextResponse("not json"),
            JSONResponse({"no": "reward"}),
        ]
    )
    (job_id,) = horde.offer()
    worker = start_worker()
    await worker.heard(events.Delivered)
    assert len(horde.submitted(job_id)) == 6


@pytest.mark.parametrize(
    "answer",
    [
        error(404, "Processing Job with ID x does not exist", "InvalidJobID"),
        error(400, "has already submitted", "DuplicateGen"),
        error(403, "wrong credentials", "WrongCredentials"),
        error(500, "Processing Job with ID x does not exist"),
    ],
)
async def test_a_submit_that_is_useless_is_not_repeated(
    horde: Any, start_worker: Any, answer: JSONResponse
) -> None:
    horde.submit_answers.append(answer)
    (first,) = horde.offer()
    (second,) = horde.offer()
    worker = start_worker()
    (lost,) = await worker.heard(events.Undelivered)
    (delivered,) = await worker.heard(events.Delivered)
    assert {lost.id, delivered.id} == {first, second}
    assert len(horde.submitted(lost.id)) == 1


async def test_delivery_is_given_up_when_the_time_to_live_is_over(
    horde: Any, start_worker: Any
) -> None:
    (job_id,) = horde.offer(ttl=3)
    horde.submit_answers.extend(error(503, "back soon") for _ in range(1000))
    worker = start_worker()
    (lost,) = await worker.heard(events.Undelivered)
    assert lost.id == job_id
    assert len(horde.submitted(job_id)) > 3


async def test_every_job_of_a_failed_batch_is_reported(horde: Any, start_worker: Any) -> None:
    ids = horde.offer(pictures=3)
    worker = start_worker(fake_failure_rate=1.0)
    await worker.heard(events.Faulted, 3)
    for job_id in ids:
        (submit,) = horde.submitted(job_id)
        assert (submit["state"], submit["generation"], submit["seed"]) == ("faulted", "faulted", -1)
        (told,) = submit["gen_metadata"]
        assert (told["type"], told["value"]) == ("information", "see_ref")
        assert "told to fail" in told["ref"]


async def test_a_job_that_cannot_be_understood_is_reported(horde: Any, start_worker: Any) -> None:
    (odd,) = horde.offer(sampler_name="k_from_the_future")
    (well,) = horde.offer()
    worker = start_worker()
    (fault,) = await worker.heard(events.Faulted)
    (delivered,) = await worker.heard(events.Delivered)
    assert (fault.id, delivered.id) == (odd, well)
    assert "k_from_the_future" in fault.reason


async def test_sources_come_by_address_or_in_base64(horde: Any, start_worker: Any) -> None:
    horde.sources["in.webp"] = b"picture"
    encoded = base64.b64encode(b"picture").decode()
    horde.offer(source_image=f"{horde.url}/source/in.webp")
    horde.offer(source_image=encoded, source_mask=encoded, source_processing="inpainting")
    worker = start_worker()
    await worker.heard(events.Delivered, 2)
    assert horde.source_gets == 1


@pytest.mark.parametrize(
    ("source", "value"),
    [("{url}/source/absent.webp", "download_failed"), ("%%%", "parse_failed")],
)
async def test_a_source_that_cannot_be_had_is_told(
    horde: Any, start_worker: Any, source: str, value: str
) -> None:
    (job_id,) = horde.offer(source_image=source.format(url=horde.url))
    worker = start_worker()
    await worker.heard(events.Faulted)
    noted = horde.submitted(job_id)[0]["gen_metadata"][0]
    assert noted == {"type": "source_image", "value": value}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
async def test_half_an_emoji_and_a_byte_order_mark_do_not_stop_a_worker(
    horde: Any, start_worker: Any, mark: bytes
) -> None:
    (job_id,) = horde.offer(prompt="half \ud83d")
    horde.pop_answers.append(Response(mark + json.dumps(horde.jobs.pop()).encode()))
    worker = start_worker()
    (delivered,) = await worker.heard(events.Delivered)
    assert delivered.id == job_id


async def test_a_source_that_never_comes_does_not_hold_up_others(
    horde: Any, start_worker: Any
) -> None:
    horde.gate.clear()
    horde.sources["slow.webp"] = b"picture"
    (slow,) = horde.offer(source_image=f"{horde.url}/source/slow.webp", ttl=6)
    (quick,) = horde.offer()
    worker = start_worker()
    (delivered,) = await worker.heard(events.Delivered)
    assert delivered.id == quick
    (fault,) = await worker.heard(events.Faulted)
    assert fault.id == slow


async def test_jobs_are_fetched_ahead_up_to_the_queue(horde: Any, start_worker: Any) -> None:
    ids = [horde.offer(ddim_steps=500)[0] for _ in range(4)]
    worker = start_worker(queue_size=2, fake_step_seconds=0.05)
    await worker.heard(events.Popped, 3)
    await worker.heard(events.Progress, 5)
    assert len(horde.jobs) == 1
    worker.abort.set()
    await worker.heard(events.Faulted, 3)
    assert {fault.id for fault in worker.of(events.Faulted)} == set(ids[:3])


async def test_threads_run_side_by_side(horde: Any, start_worker: Any) -> None:
    for _ in range(2):
        horde.offer(ddim_steps=500)
    worker = start_worker(max_threads=2, queue_size=0, fake_step_seconds=0.05)
    await worker.until(lambda: len({one.id for one in worker.of(events.Progress)}) == 2)
    assert horde.pops[0]["threads"] == 2


async def test_troubles_are_shown_and_outlived(horde: Any, start_worker: Any) -> None:
    invalid = JSONResponse(
        {"message": "Input payload validation failed", "errors": {"name": "too short"}},
        status_code=400,
    )
    maintenance = "This worker has been put into maintenance mode by its owner"
    message = {"id": "m1", "message": "Hello", "origin": "Dora", "expiry": "soon"}
    idle: dict[str, Any] = {
        "id": None,
        "ids": [],
        "payload": {},
        "skipped": {},
        "messages": [message],
    }
    horde.pop_answers.extend(
        [
            invalid,
            error(403, maintenance, "WorkerMaintenance"),
            PlainTextResponse("<html>", status_code=502),
            error(429, "2 per 1 second", **{"Retry-After": "Sun, 22 Nov 2026 00:00:00 GMT"}),
            JSONResponse(idle),
            JSONResponse(idle),
        ]
    )
    worker = start_worker()
    await worker.heard(events.Idle, 3)
    troubles = [one.message for one in worker.of(events.Trouble)]
    assert troubles[0] == "Input payload validation failed (name: too short)"
    assert "502" in troubles[1]
    assert troubles[2] == "2 per 1 second"
    assert worker.of(events.Maintenance) == [events.Maintenance(maintenance)]
    assert worker.of(events.Message) == [events.Message("Hello", "Dora")]


async def test_a_drain_finishes_what_is_in_hand(horde: Any, start_worker: Any) -> None:
    ids = [horde.offer(ddim_steps=10)[0] for _ in range(3)]
    worker = start_worker(fake_step_seconds=0.02, queue_size=1)
    await worker.heard(events.Progress)
    await worker.heard(events.Popped, 2)
    assert await worker.drained() == 0
    assert [one.id for one in worker.of(events.Delivered)] == ids[:2]
    assert len(horde.jobs) == 1


async def test_a_worker_can_be_stopped_before_it_works(horde: Any, start_worker: Any) -> None:
    worker = start_worker()
    assert await worker.drained() == 0
    assert not horde.pops


async def test_an_abort_reports_what_is_in_hand(horde: Any, start_worker: Any) -> None:
    ids = [horde.offer(ddim_steps=500)[0] for _ in range(2)]
    worker = start_worker(fake_step_seconds=0.05)
    await worker.heard(events.Progress)
    await worker.heard(events.Popped, 2)
    worker.abort.set()
    async with asyncio.timeout(60):
        assert await worker.task == 0
    assert {one["id"] for one in horde.submits} == set(ids)
    assert {one["state"] for one in horde.submits} == {"faulted"}


def test_failures_of_the_fake_engine_are_foreseeable() -> None:
    share = sum(fails(seed, 0.3) for seed in range(1000)) / 1000
    assert 0.2 < share < 0.4
    assert not fails(1, 0.0)
    assert fails(1, 1.0)
