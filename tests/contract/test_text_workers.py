# SPDX-License-Identifier: AGPL-3.0-or-later
"""Text workers that exist, replayed to the letter: the old scribe and KoboldCpp."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from contract.text_wire import (
    ask_text,
    hand_in_text,
    kobold_pop,
    lite_body,
    pop_text,
    scribe_pop,
    take_text,
    text_status,
)
from contract.wire import Person, assert_is
from processes import wait_until

MODEL = "org/model of old scribes"
SCRIBE, KOBOLD = "old scribe", "kobold machine"
POPS = [scribe_pop(SCRIBE, MODEL), kobold_pop(KOBOLD, MODEL)]


def finish(http: httpx.Client, worker: Person, job: dict[str, Any], text: str = "Done.") -> float:
    """Hand in what KoboldCpp does; the reward."""
    answer = hand_in_text(http, worker.headers, id=job["id"], generation=text, state="ok")
    assert answer.status_code == 200, answer.text
    return float(answer.json()["reward"])


@pytest.mark.parametrize("pop", POPS, ids=[SCRIBE, KOBOLD])
def test_workers_get_what_they_read(
    http: httpx.Client, alice: Person, bob: Person, pop: dict[str, Any]
) -> None:
    ask_text(http, alice.headers, MODEL)
    job = take_text(http, bob.headers, pop)
    assert_is("GenerationPayloadKobold", job)
    assert job["ids"] == [job["id"]]
    assert job["model"] == MODEL
    assert job["ttl"] == 150
    assert (job["softprompt"], job["extra_source_images"]) == (None, None)
    payload = job["payload"]
    wanted = lite_body(MODEL)
    assert payload["prompt"] == wanted["prompt"]
    assert (payload["n"], payload["max_length"], payload["max_context_length"]) == (1, 100, 2048)
    for name in ("rep_pen", "temperature", "sampler_order", "stop_sequence", "min_p"):
        assert payload[name] == wanted["params"][name]
    assert None not in payload.values()
    finish(http, bob, job)


@pytest.mark.parametrize("pop", POPS, ids=[SCRIBE, KOBOLD])
def test_no_work_is_an_answer_with_everything_in_it(
    http: httpx.Client, bob: Person, pop: dict[str, Any]
) -> None:
    answer = pop_text(http, bob.headers, {**pop, "models": [f"nobody's {uuid4()}"]})
    assert answer.status_code == 200
    nothing = answer.json()
    assert_is("GenerationPayloadKobold", nothing)
    assert (nothing["id"], nothing["ids"]) == (None, [])
    assert nothing["payload"] == {
        "n": 1,
        "max_length": 80,
        "max_context_length": 2048,
        "min_p": 0.0,
        "smoothing_factor": 0.0,
        "dynatemp_range": 0.0,
        "dynatemp_exponent": 1.0,
    }
    assert None not in nothing["skipped"].values()
    assert nothing["messages"] == []


def test_the_scribe_hands_in_without_a_state(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    request_id = ask_text(http, alice.headers, MODEL)
    job = take_text(http, bob.headers, scribe_pop(SCRIBE, MODEL))
    answer = hand_in_text(http, bob.headers, id=job["id"], generation="Once upon", seed=0)
    assert answer.status_code == 200
    assert answer.json()["reward"] > 0
    status = text_status(http, request_id)
    assert_is("RequestStatusKobold", status)
    (generation,) = status["generations"]
    assert (generation["text"], generation["seed"], generation["state"]) == ("Once upon", 0, "ok")
    assert (generation["worker_name"], generation["model"]) == (SCRIBE, MODEL)
    assert status["done"]
    assert "message" not in status


@pytest.mark.parametrize("state", ["censored", "csam"])
def test_a_state_of_censored_reaches_the_requester(
    http: httpx.Client, alice: Person, bob: Person, state: str
) -> None:
    request_id = ask_text(http, alice.headers, MODEL)
    job = take_text(http, bob.headers, kobold_pop(KOBOLD, MODEL))
    answer = hand_in_text(http, bob.headers, id=job["id"], generation="", state=state)
    assert answer.json()["reward"] > 0
    (generation,) = text_status(http, request_id)["generations"]
    assert generation["state"] == state
    notes = [{"type": "censorship", "value": "csam"}] if state == "csam" else []
    assert generation["gen_metadata"] == notes


def test_a_faulted_text_comes_back_and_is_counted_once(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    request_id = ask_text(http, alice.headers, MODEL)
    job = take_text(http, bob.headers, scribe_pop(SCRIBE, MODEL))
    for _ in range(2):
        answer = hand_in_text(
            http, bob.headers, id=job["id"], generation="faulted", state="faulted", seed=-1
        )
        assert (answer.status_code, answer.json()) == (200, {"reward": 0})
    status = text_status(http, request_id)
    assert (status["restarted"], status["waiting"]) == (1, 1)
    finish(http, bob, take_text(http, bob.headers, scribe_pop(SCRIBE, MODEL)))


def test_a_branded_model_is_served_by_its_owner_alone(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    mine = http.get("/api/v2/find_user", headers=bob.headers).json()["username"]
    branded = f"{MODEL}::{mine}"
    ask_text(http, alice.headers, branded)
    stolen = pop_text(http, alice.headers, scribe_pop("thief's scribe", branded))
    assert (stolen.status_code, stolen.json()["rc"]) == (400, "BadRequest")
    assert "we cannot accept workers serving" in stolen.json()["message"]
    plain = scribe_pop(SCRIBE, MODEL)
    wait_until(
        lambda: pop_text(http, bob.headers, plain).json()["skipped"]["models"] > 0,
        "the unbranded worker hears that it lacks the model",
    )
    job = take_text(http, bob.headers, scribe_pop("branded scribe", branded))
    assert job["model"] == branded
    finish(http, bob, job)


def test_a_quantised_model_is_a_model_of_its_own(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    quantised = "koboldcpp/Writer-7B.Q4_K_M"
    ask_text(http, alice.headers, quantised)
    assert pop_text(http, bob.headers, kobold_pop(KOBOLD, "Writer-7B")).json()["id"] is None
    job = take_text(http, bob.headers, kobold_pop("quantised machine", quantised))
    assert job["model"] == quantised
    assert finish(http, bob, job, "A long answer. " * 20) > 0


def test_a_batch_is_handed_in_text_by_text(http: httpx.Client, alice: Person, bob: Person) -> None:
    request_id = ask_text(http, alice.headers, MODEL, params={"n": 3})
    job = take_text(http, bob.headers, scribe_pop(SCRIBE, MODEL, amount=2))
    assert len(job["ids"]) == 2
    assert job["payload"]["n"] == 1
    for place, job_id in enumerate(job["ids"]):
        finish(http, bob, {"id": job_id}, f"text {place}")
    finish(http, bob, take_text(http, bob.headers, scribe_pop(SCRIBE, MODEL)), "text 2")
    texts = [each["text"] for each in text_status(http, request_id)["generations"]]
    assert sorted(texts) == ["text 0", "text 1", "text 2"]


def test_what_is_handed_in_again_or_never_was(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    ask_text(http, alice.headers, MODEL)
    job = take_text(http, bob.headers, kobold_pop(KOBOLD, MODEL))
    theirs = hand_in_text(http, alice.headers, id=job["id"], generation="x")
    assert (theirs.status_code, theirs.json()["rc"]) == (403, "WrongCredentials")
    finish(http, bob, job)
    again = hand_in_text(http, bob.headers, id=job["id"], generation="x", state="ok")
    assert (again.status_code, again.json()["rc"]) == (400, "DuplicateGen")
    assert "already submitted" in again.json()["message"]
    nothing = hand_in_text(http, bob.headers, id=str(uuid4()), generation="x")
    assert (nothing.status_code, nothing.json()["rc"]) == (404, "InvalidJobID")
    assert "does not exist" in nothing.json()["message"]


def test_a_worker_in_maintenance_hears_these_words(http: httpx.Client, bob: Person) -> None:
    pop = kobold_pop("resting kobold", "a model nobody asks for")
    assert pop_text(http, bob.headers, pop).status_code == 200
    worker = http.get("/api/v2/workers/name/resting kobold").json()
    http.put(f"/api/v2/workers/{worker['id']}", headers=bob.headers, json={"maintenance": True})
    answer = pop_text(http, bob.headers, pop)
    assert (answer.status_code, answer.json()["rc"]) == (403, "WorkerMaintenance")
    assert "maintenance mode" in answer.json()["message"]
    http.put(f"/api/v2/workers/{worker['id']}", headers=bob.headers, json={"maintenance": False})
    assert pop_text(http, bob.headers, pop).status_code == 200


def test_the_least_that_a_worker_may_say(http: httpx.Client, bob: Person) -> None:
    least = {"name": "terse scribe", "models": ["a model nobody asks for"]}
    nulls = {"softprompts": None, "threads": None, "nsfw": None, "bridge_agent": None}
    for body in (least, {**least, **nulls}, {**least, "hobbies": ["unknown fields"]}):
        answer = pop_text(http, bob.headers, body)
        assert (answer.status_code, answer.json()["ids"]) == (200, [])


def test_a_name_belongs_to_one_kind(http: httpx.Client, bob: Person) -> None:
    pop_text(http, bob.headers, kobold_pop("many-sided machine", MODEL))
    body = {"name": "many-sided machine", "models": ["stable_diffusion"]}
    answer = http.post("/api/v2/generate/pop", headers=bob.headers, json=body)
    assert (answer.status_code, answer.json()["rc"]) == (400, "PolymorphicNameConflict")


def test_what_the_horde_shows_of_a_scribe(http: httpx.Client, alice: Person, bob: Person) -> None:
    ask_text(http, alice.headers, MODEL)
    finish(http, bob, take_text(http, bob.headers, scribe_pop(SCRIBE, MODEL)))
    worker = http.get(f"/api/v2/workers/name/{SCRIBE}").json()
    assert_is("WorkerDetails", worker)
    assert (worker["type"], worker["models"]) == ("text", [MODEL])
    assert (worker["max_length"], worker["max_context_length"]) == (512, 4096)
    assert worker["performance"].endswith(" tokens per second")
    named = {each["name"] for each in http.get("/api/v2/workers?type=text").json()}
    assert SCRIBE in named
    assert SCRIBE not in {each["name"] for each in http.get("/api/v2/workers?type=image").json()}
    served = http.get("/api/v2/status/models?type=text").json()
    for model in served:
        assert_is("ActiveModel", model)
        assert model["type"] == "text"
    assert MODEL in {each["name"] for each in served}
    (same,) = http.get(f"/api/v2/status/models/{MODEL}").json()
    assert (same["name"], same["type"]) == (MODEL, "text")
    performance = http.get("/api/v2/status/performance").json()
    assert performance["text_worker_count"] > 0
    assert performance["text_thread_count"] > 0
