# SPDX-License-Identifier: AGPL-3.0-or-later
"""Habits of clients that exist, each of which must find what it insists on."""

import base64
from io import BytesIO
from typing import Any

import httpx
import pytest
from contract.wire import Person, ask, hand_in, image_body, picture, regen_pop, take
from PIL import Image

MODEL = "model of clients"
ORIGIN = "https://lite.koboldai.example"
BROWSERS_HEADERS = ("apikey", "Client-Agent", "Content-Type", "Openhorde-Extras", "X-Fields")


def drawn(http: httpx.Client, asker: Person, worker: Person, **changes: Any) -> dict[str, Any]:
    """The picture that comes of a request."""
    request_id = ask(http, asker.headers, MODEL, **changes)
    job = take(http, worker.headers, regen_pop("clients' machine", MODEL))
    http.put(job["r2_upload"], content=picture())
    hand_in(http, worker.headers, id=job["id"], generation="R2", seed=3)
    (generation,) = http.get(f"/api/v2/generate/status/{request_id}").json()["generations"]
    found: dict[str, Any] = generation
    return found


def test_koboldai_lite_gets_its_picture_inline(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    params = {"seed": "", "cfg_scale": 7, "scheduler": "karras", "custom_field": {"a": 1}}
    generation = drawn(
        http, alice, bob, r2=False, params=params, use_default_badwordsids=True, workers=[]
    )
    with Image.open(BytesIO(base64.b64decode(generation["img"], validate=True))) as image:
        assert image.size == (64, 64)
    assert generation["gen_metadata"] == []
    assert generation["seed"] == "3"


def test_an_empty_list_of_models_is_any_model(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    body = image_body(MODEL) | {"models": [], "workers": []}
    answer = http.post("/api/v2/generate/async", headers=alice.headers, json=body)
    assert answer.status_code == 202
    job = take(http, bob.headers, regen_pop("clients' machine", "whatever I have"))
    assert job["model"] == "whatever I have"
    http.put(job["r2_upload"], content=picture())
    hand_in(http, bob.headers, id=job["id"], generation="R2", seed=3)
    assert http.get(f"/api/v2/generate/check/{answer.json()['id']}").json()["done"]


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_source_may_have_its_data_url_prefix(
    http: httpx.Client, alice: Person, bob: Person, prefix: str
) -> None:
    source = prefix + base64.b64encode(picture("PNG")).decode()
    params = {"denoising_strength": 0.5}
    assert drawn(http, alice, bob, source_image=source, params=params)["img"].startswith("http")


def test_unknown_and_null_parameters_are_tolerated(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    params = {
        "use_gfpgan": True,
        "toggles": [1, 4],
        "hires_fix": None,
        "loras": None,
        "clip_skip": None,
        "seed_variation": 1000,
    }
    extra = {"allow_downgrade": True, "slow_workers": None, "extra_slow_workers": True, "jobId": 7}
    assert drawn(http, alice, bob, params=params, **extra)["state"] == "ok"


def test_no_key_and_no_agent_are_needed_to_check_read_and_cancel(
    http: httpx.Client, alice: Person
) -> None:
    request_id = ask(http, alice.headers, MODEL)
    for method, place in (("GET", "check"), ("GET", "status"), ("DELETE", "status")):
        answer = http.request(method, f"/api/v2/generate/{place}/{request_id}")
        assert answer.status_code == 200
        assert answer.json().get("message") is None


def test_flutter_is_told_that_nobody_has_its_key(http: httpx.Client) -> None:
    nobodys = {"apikey": "aaaaaaaaaaaaaaaaaaaaaa"}
    for headers, refused in ((nobodys, (404, "UserNotFound")), ({}, (401, "InvalidAPIKey"))):
        answer = http.get("/api/v2/find_user", headers=headers)
        assert (answer.status_code, answer.json()["rc"]) == refused
        assert "No user matching sent API Key." in answer.json()["message"]


def test_flutter_reads_counts_as_whole_numbers(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    drawn(http, alice, bob, params={"seed": "", "seed_variation": 1000})
    account = http.get("/api/v2/find_user", headers=alice.headers).json()
    assert isinstance(account["usage"]["requests"], int)
    assert isinstance(account["contributions"]["fulfillments"], int)
    assert all(isinstance(value, int | float) for value in account["kudos_details"].values())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v2/generate/async"),
        ("GET", "/api/v2/generate/check/1"),
        ("DELETE", "/api/v2/generate/status/1"),
        ("PUT", "/api/v2/workers/1"),
        ("GET", "/api/v2/find_user"),
        ("PUT", "/blobs/a.webp"),
        ("GET", "/blobs/a.webp"),
    ],
)
def test_browsers_may_ask_from_anywhere(http: httpx.Client, method: str, path: str) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ", ".join(BROWSERS_HEADERS).lower(),
    }
    answer = http.options(path, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert all(name.lower() in allowed for name in BROWSERS_HEADERS)
    assert method in answer.headers["access-control-allow-methods"]


def test_browsers_may_read_answers_refusals_and_pictures(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    link = drawn(http, alice, bob)["img"]
    for path in ("/api/v2/status/models", "/api/v2/generate/check/1", "/api/nothing", link):
        answer = http.get(path, headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"] == "image/webp"
    assert http.head(link).status_code == 200


def test_a_field_mask_harms_nothing(http: httpx.Client, alice: Person) -> None:
    headers = {**alice.headers, "X-Fields": "id, kudos"}
    answer = http.post("/api/v2/generate/async", headers=headers, json=image_body(MODEL))
    assert answer.status_code == 202
    assert {"id", "kudos"} <= set(answer.json())
    http.delete(f"/api/v2/generate/status/{answer.json()['id']}")


def test_stable_ui_sees_the_exact_statuses(http: httpx.Client, alice: Person) -> None:
    queued = http.post("/api/v2/generate/async", headers=alice.headers, json=image_body(MODEL))
    request_id = queued.json()["id"]
    assert queued.status_code == 202
    assert http.get(f"/api/v2/generate/check/{request_id}").status_code == 200
    cancelled = http.delete(f"/api/v2/generate/status/{request_id}")
    assert (cancelled.status_code, cancelled.json()["generations"]) == (200, [])
    assert http.get("/api/v2/generate/check/gone").status_code == 404


def test_lucid_creations_reads_a_reason_from_every_refusal(
    http: httpx.Client, alice: Person
) -> None:
    for changes, status, rc in (
        ({"params": {"width": 2048, "height": 2048, "steps": 200}}, 403, "KudosUpfront"),
        ({"workers": ["00000000-0000-0000-0000-000000000000"]}, 404, "WorkerNotFound"),
        ({"source_mask": "aGVsbG8="}, 400, "SourceMaskUnnecessary"),
        ({"source_image": "aGVsbG8="}, 400, "ImageValidationFailed"),
        ({"params": {"control_type": "canny"}}, 400, "ControlNetSourceMissing"),
    ):
        body = image_body(MODEL, **changes)
        answer = http.post("/api/v2/generate/async", headers={"apikey": "0000000000"}, json=body)
        assert (answer.status_code, answer.json().get("rc")) == (status, rc), answer.text
        assert answer.json()["message"]
        assert "errors" not in answer.json()


def test_a_slash_at_the_end_redirects_nobody(http: httpx.Client, alice: Person) -> None:
    answer = http.post("/api/v2/generate/async/", headers=alice.headers, json=image_body(MODEL))
    assert answer.status_code == 202
    http.delete(f"/api/v2/generate/status/{answer.json()['id']}/")
