# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers that exist, replayed to the letter: the old worker and reGen."""

import base64
from io import BytesIO
from uuid import uuid4

import httpx
import pytest
from contract.wire import Person, ask, hand_in, old_pop, picture, regen_pop, take
from PIL import Image

MODEL = "model of old workers"
OLD, REGEN = "old machine", "regen machine"


def test_the_old_worker_gets_what_it_reads_without_defaults(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    ask(http, alice.headers, MODEL)
    job = take(http, bob.headers, old_pop(OLD, MODEL))
    needed = {"prompt", "height", "width", "ddim_steps", "sampler_name", "cfg_scale", "seed"}
    needed |= {"tiling", "karras"}
    assert needed <= set(job["payload"])
    assert job["payload"]["prompt"] == "a red circle ### blue"
    assert isinstance(job["payload"]["seed"], str)
    assert job["payload"]["seed"].isdigit()
    assert job["r2_upload"] == job["r2_uploads"][0]
    assert job["ids"] == [job["id"]]
    assert job["ttl"] >= 150
    finish(http, bob, job["id"])


def test_a_result_may_come_as_base64_and_without_a_state(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    request_id = ask(http, alice.headers, MODEL, r2=False)
    job = take(http, bob.headers, old_pop(OLD, MODEL))
    encoded = base64.b64encode(picture()).decode()
    answer = hand_in(http, bob.headers, id=job["id"], generation=encoded, seed=7)
    assert answer.status_code == 200
    assert answer.json()["reward"] > 0
    (generation,) = http.get(f"/api/v2/generate/status/{request_id}").json()["generations"]
    assert (generation["seed"], generation["state"], generation["censored"]) == ("7", "ok", False)
    with Image.open(BytesIO(base64.b64decode(generation["img"]))) as image:
        assert (image.format, image.size) == ("WEBP", (64, 64))


@pytest.mark.parametrize("state", ["censored", "csam"])
def test_a_state_of_censored_reaches_the_requester(
    http: httpx.Client, alice: Person, bob: Person, state: str
) -> None:
    request_id = ask(http, alice.headers, MODEL)
    job = take(http, bob.headers, old_pop(OLD, MODEL))
    http.put(job["r2_upload"], content=picture())
    body = {"id": job["id"], "generation": "R2", "seed": 1, "state": state}
    assert hand_in(http, bob.headers, **body).status_code == 200
    (generation,) = http.get(f"/api/v2/generate/status/{request_id}").json()["generations"]
    assert generation["censored"] is True


@pytest.mark.parametrize("said", ["faulted", "Faulted", "R2"])
def test_a_faulted_job_comes_back_and_earns_nothing(
    http: httpx.Client, alice: Person, bob: Person, said: str
) -> None:
    request_id = ask(http, alice.headers, MODEL)
    job = take(http, bob.headers, old_pop(OLD, MODEL))
    body = {"id": job["id"], "generation": said, "state": "faulted", "seed": -1}
    for _ in range(2):
        answer = hand_in(http, bob.headers, **body)
        assert (answer.status_code, answer.json()) == (200, {"reward": 0})
    check = http.get(f"/api/v2/generate/check/{request_id}").json()
    assert (check["restarted"], check["waiting"]) == (1, 1)
    finish(http, bob, take(http, bob.headers, old_pop(OLD, MODEL))["id"])


@pytest.mark.parametrize("spelling", ["allow_unsafe_ip", "allow_unsafe_ipaddr"])
@pytest.mark.parametrize("allowed", [True, False])
def test_both_spellings_of_unsafe_addresses_are_taken(
    http: httpx.Client, bob: Person, spelling: str, allowed: bool
) -> None:
    body = regen_pop(REGEN, "a model nobody asks for")
    del body["allow_unsafe_ipaddr"]
    body[spelling] = allowed
    answer = http.post(
        "/api/v2/generate/pop", headers=bob.headers, json={**body, spelling: allowed}
    )
    assert answer.status_code == 200


def test_the_old_worker_gets_sources_as_base64_and_regen_as_links(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    source = base64.b64encode(picture("PNG")).decode()
    mask = base64.b64encode(picture("PNG", color="white")).decode()
    for pop in (old_pop(OLD, MODEL), regen_pop(REGEN, MODEL)):
        ask(http, alice.headers, MODEL, source_image=source, source_mask=mask)
        job = take(http, bob.headers, pop)
        for given in (job["source_image"], job["source_mask"]):
            if pop["name"] == OLD:
                data = base64.b64decode(given, validate=True)
            else:
                data = http.get(given).content
            with Image.open(BytesIO(data)) as image:
                assert (image.format, image.size) == ("PNG", (64, 64))
        finish(http, bob, job["id"])


def test_regen_uploads_without_a_content_type_and_hands_in_each_job_of_a_batch(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    request_id = ask(http, alice.headers, MODEL, params={"n": 3})
    job = take(http, bob.headers, regen_pop(REGEN, MODEL, amount=3))
    assert len(job["ids"]) == len(job["r2_uploads"]) == job["payload"]["n_iter"] == 3
    for index, (job_id, upload) in enumerate(zip(job["ids"], job["r2_uploads"], strict=True)):
        put = http.build_request("PUT", upload, content=picture())
        assert "content-type" not in put.headers
        assert http.send(put).status_code == 200
        notes = [{"type": "batch_index", "value": "see_ref", "ref": str(index)}]
        body = {"generation": "R2", "state": "ok", "seed": 5, "censored": False}
        answer = hand_in(http, bob.headers, id=job_id, gen_metadata=notes, **body)
        assert answer.json()["reward"] > 0
    status = http.get(f"/api/v2/generate/status/{request_id}").json()
    assert status["done"]
    assert [each["gen_metadata"][0]["ref"] for each in status["generations"]] == ["0", "1", "2"]


def test_a_second_result_says_already_submitted(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    ask(http, alice.headers, MODEL)
    job = take(http, bob.headers, old_pop(OLD, MODEL))
    finish(http, bob, job["id"])
    again = hand_in(http, bob.headers, id=job["id"], generation="R2", seed=1)
    assert (again.status_code, again.json()["rc"]) == (400, "DuplicateGen")
    assert "already submitted" in again.json()["message"]


@pytest.mark.parametrize("job_id", [str(uuid4()), "no id at all", ""])
def test_a_result_of_an_unknown_job_says_does_not_exist(
    http: httpx.Client, bob: Person, job_id: str
) -> None:
    answer = hand_in(http, bob.headers, id=job_id, generation="R2", seed=1)
    assert (answer.status_code, answer.json()["rc"]) == (404, "InvalidJobID")
    assert "does not exist" in answer.json()["message"]


def test_a_result_of_somebody_elses_job_is_refused(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    ask(http, alice.headers, MODEL)
    job = take(http, bob.headers, old_pop(OLD, MODEL))
    answer = hand_in(http, alice.headers, id=job["id"], generation="R2", seed=1)
    assert (answer.status_code, answer.json()["rc"]) == (403, "WrongCredentials")
    assert "wrong credentials" in answer.json()["message"]
    finish(http, bob, job["id"])


def test_a_worker_in_maintenance_hears_these_words(http: httpx.Client, bob: Person) -> None:
    pop = old_pop("resting machine", "a model nobody asks for")
    assert http.post("/api/v2/generate/pop", headers=bob.headers, json=pop).status_code == 200
    worker = http.get("/api/v2/workers/name/resting machine").json()
    for body in ({"maintenance": True}, {"maintenance_msg": "back on Monday"}):
        http.put(f"/api/v2/workers/{worker['id']}", headers=bob.headers, json=body)
        answer = http.post("/api/v2/generate/pop", headers=bob.headers, json=pop)
        assert (answer.status_code, answer.json()["rc"]) == (403, "WorkerMaintenance")
        assert "maintenance mode" in answer.json()["message"]
    assert "back on Monday" in answer.json()["message"]
    http.put(f"/api/v2/workers/{worker['id']}", headers=bob.headers, json={"maintenance": False})
    assert http.post("/api/v2/generate/pop", headers=bob.headers, json=pop).status_code == 200


def test_a_worker_may_not_be_anonymous_nor_take_anothers_name(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    pop = old_pop(OLD, MODEL)
    http.post("/api/v2/generate/pop", headers=bob.headers, json=pop)
    codes = {}
    for key in ("0000000000", alice.key, "nobody's key", ""):
        answer = http.post("/api/v2/generate/pop", headers={"apikey": key}, json=pop)
        codes[key] = (answer.status_code, answer.json().get("rc"))
        assert answer.json()["message"]
    assert list(codes.values()) == [
        (403, "AnonForbiddenWorker"),
        (403, "WrongCredentials"),
        (401, "InvalidAPIKey"),
        (400, None),
    ]


def test_an_unknown_agent_is_a_worker_all_the_same(http: httpx.Client, bob: Person) -> None:
    for agent in ("KoboldCppEmbedWorker:2:https://x", "x", "", ":::", "AI Horde Worker:one:x"):
        pop = old_pop("odd machine", "a model nobody asks for", bridge_agent=agent)
        answer = http.post("/api/v2/generate/pop", headers=bob.headers, json=pop)
        assert (answer.status_code, answer.json()["id"]) == (200, None)


def test_the_least_that_a_worker_may_say(http: httpx.Client, bob: Person) -> None:
    least = {"name": "terse machine", "models": ["a model nobody asks for"]}
    for body in (least, {**least, "max_pixels": 262_144}, {**least, "hobbies": ["unknown fields"]}):
        answer = http.post("/api/v2/generate/pop", headers=bob.headers, json=body)
        assert (answer.status_code, answer.json()["ids"]) == (200, [])


def finish(http: httpx.Client, worker: Person, job_id: str) -> None:
    """Hand a job in, so that it is in nobody's way."""
    drawn = base64.b64encode(picture()).decode()
    answer = hand_in(http, worker.headers, id=job_id, generation=drawn, seed=1)
    assert answer.status_code == 200, answer.text
