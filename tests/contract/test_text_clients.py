# SPDX-License-Identifier: AGPL-3.0-or-later
"""Habits of clients that have texts written, each of which must find what it insists on."""

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
    take_text,
    text_status,
)
from contract.wire import Person, assert_is
from processes import wait_until

MODEL = "model of writers"


def write(http: httpx.Client, worker: Person, text: str, **changes: Any) -> None:
    """Have the next text of the model written."""
    job = take_text(http, worker.headers, kobold_pop("writers' machine", MODEL, **changes))
    answer = hand_in_text(http, worker.headers, id=job["id"], generation=text, state="ok")
    assert answer.status_code == 200, answer.text


def test_koboldai_lite_gets_its_story(http: httpx.Client, alice: Person, bob: Person) -> None:
    body = lite_body(MODEL)
    queued = http.post("/api/v2/generate/text/async", headers=alice.headers, json=body)
    assert queued.status_code == 202
    assert_is("RequestAsync", queued.json())
    assert queued.json()["kudos"] > 0
    request_id = queued.json()["id"]
    waiting = text_status(http, request_id)
    assert_is("RequestStatusKobold", waiting)
    # Whatever has a message, or is faulted, is given up at once.
    assert waiting.get("message") is None
    assert (waiting["faulted"], waiting["done"], waiting["generations"]) == (False, False, [])
    write(http, bob, " Once.")
    done = text_status(http, request_id)
    assert (done["done"], done["is_possible"], done["finished"]) == (True, True, 1)
    assert done["generations"][0]["text"] == " Once."
    assert done["generations"][0]["gen_metadata"] == []
    assert done["kudos"] > 0


def test_koboldai_lite_reads_models_and_workers(http: httpx.Client, bob: Person) -> None:
    body = kobold_pop("writers' machine", MODEL)
    assert http.post("/api/v2/generate/text/pop", headers=bob.headers, json=body).is_success

    def shown() -> list[dict[str, Any]]:
        models = http.get("/api/v2/status/models?type=text").json()
        return [each for each in models if each["name"] == MODEL]

    wait_until(lambda: bool(shown()), "the model is shown")
    assert {"name", "count", "performance", "queued", "eta"} <= set(shown()[0])
    (worker,) = [
        each
        for each in http.get("/api/v2/workers?type=text").json()
        if each["name"] == "writers' machine"
    ]
    assert worker["models"] == [MODEL]
    assert isinstance(worker["performance"], str)
    assert {"trusted", "maintenance_mode", "id", "max_length", "max_context_length"} <= set(worker)


def test_a_text_is_cancelled(http: httpx.Client, alice: Person) -> None:
    request_id = ask_text(http, alice.headers, MODEL)
    cancelled = http.delete(f"/api/v2/generate/text/status/{request_id}")
    assert cancelled.status_code == 200
    assert_is("RequestStatusKobold", cancelled.json())
    assert text_status(http, request_id)["done"]


def test_a_soft_prompt_is_passed_on(http: httpx.Client, alice: Person, bob: Person) -> None:
    request_id = ask_text(http, alice.headers, MODEL, softprompt="poet")
    pop = kobold_pop("writers' machine", MODEL)

    def skipped() -> int:
        nothing = pop_text(http, bob.headers, pop).json()
        assert nothing["id"] is None
        count: int = nothing["skipped"]["matching_softprompt"]
        return count

    wait_until(lambda: skipped() == 1, "the worker hears that it lacks the soft prompt")
    job = take_text(http, bob.headers, {**pop, "softprompts": ["bard", "poet"]})
    assert job["softprompt"] == "poet"
    hand_in_text(http, bob.headers, id=job["id"], generation="Roses", state="ok")
    assert text_status(http, request_id)["done"]


def test_sillytavern_asks_for_what_it_likes(http: httpx.Client, alice: Person, bob: Person) -> None:
    body = {
        "prompt": "Once",
        "params": {"n": 1, "frmtadsnsp": False, "singleline": False, "use_gfpgan": True},
        "trusted_workers": False,
        "models": [MODEL, "another"],
    }
    queued = http.post("/api/v2/generate/text/async", headers=alice.headers, json=body)
    assert queued.status_code == 202
    write(http, bob, "There was")
    status = text_status(http, queued.json()["id"])
    assert status["generations"][0]["text"] == "There was"
    assert http.get("/api/v2/status/heartbeat").json()["message"] == "OK"


def test_an_empty_list_of_models_is_any_model(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    body = lite_body(MODEL) | {"models": []}
    queued = http.post("/api/v2/generate/text/async", headers=alice.headers, json=body)
    job = take_text(http, bob.headers, kobold_pop("any machine", "whatever I have"))
    assert job["model"] == "whatever I have"
    hand_in_text(http, bob.headers, id=job["id"], generation="x", state="ok")
    assert text_status(http, queued.json()["id"])["done"]


def test_a_dry_run_says_the_most_it_can_cost(http: httpx.Client, alice: Person) -> None:
    body = lite_body(MODEL, dry_run=True)
    priced = http.post("/api/v2/generate/text/async", headers=alice.headers, json=body)
    assert priced.status_code == 200
    lines = priced.json()["lines"]
    assert sum(line["kudos"] for line in lines) == pytest.approx(priced.json()["kudos"])
    queued = http.post(
        "/api/v2/generate/text/async", headers=alice.headers, json=lite_body(MODEL)
    ).json()
    assert queued["kudos"] == priced.json()["kudos"]
    http.delete(f"/api/v2/generate/text/status/{queued['id']}")


@pytest.mark.parametrize(
    ("changes", "rc"),
    [
        ({"prompt": "  "}, "MissingPrompt"),
        ({"params": {"max_length": 200, "max_context_length": 100}}, "TokenOverflow"),
        ({"params": {"sampler_order": [1, 2, 3]}}, "MissingFullSamplerOrder"),
        ({"params": {"stop_sequence": [str(n) for n in range(129)]}}, "TooManyStopSequences"),
        ({"params": {"stop_sequence": ["a" * 2001]}}, "ExcessiveStopSequence"),
        ({"extra_source_images": [{"image": "x"}]}, "InvalidExtraSourceImages."),
        ({"prompt": "a\0b"}, "NulByteInPayload"),
    ],
)
def test_refusals_name_what_is_wrong(
    http: httpx.Client, alice: Person, changes: dict[str, Any], rc: str
) -> None:
    answer = http.post(
        "/api/v2/generate/text/async", headers=alice.headers, json=lite_body(MODEL, **changes)
    )
    assert (answer.status_code, answer.json()["rc"]) == (400, rc)
    assert "errors" not in answer.json()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": "x", "params": {"max_length": 15}}, "params.max_length"),
        ({"prompt": "x", "params": {"max_length": 4097}}, "params.max_length"),
        ({"prompt": "x", "params": {"max_context_length": 79}}, "params.max_context_length"),
        ({"prompt": "x", "params": {"n": 21}}, "params.n"),
        ({"prompt": "x", "params": {"temperature": 5.1}}, "params.temperature"),
        ({"prompt": "x", "params": {"top_p": 0}}, "params.top_p"),
        ({"prompt": "x", "softprompt": ""}, "softprompt"),
    ],
)
def test_bounds_name_their_field(
    http: httpx.Client, alice: Person, body: dict[str, Any], field: str
) -> None:
    answer = http.post("/api/v2/generate/text/async", headers=alice.headers, json=body)
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == {field}


def test_an_image_is_no_text(http: httpx.Client, alice: Person) -> None:
    request_id = ask_text(http, alice.headers, MODEL)
    as_image = http.get(f"/api/v2/generate/status/{request_id}")
    assert (as_image.status_code, as_image.json()["rc"]) == (404, "RequestNotFound")
    http.delete(f"/api/v2/generate/text/status/{request_id}")
    gone = http.get(f"/api/v2/generate/text/status/{uuid4()}")
    assert (gone.status_code, gone.json()["rc"]) == (404, "RequestNotFound")
