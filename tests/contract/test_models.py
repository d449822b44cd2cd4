# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every answer of the v2 operations has exactly the fields that the contract names."""

import base64
from uuid import uuid4

import httpx
import pytest
from contract.wire import Person, ask, assert_is, hand_in, image_body, picture, regen_pop, take
from processes import wait_until

MODEL = "model of the contract"


@pytest.fixture(scope="module")
def finished(server_client: httpx.Client, alice: Person, bob: Person) -> str:
    """The id of a request that is done, by a worker that is online."""
    request_id = ask(server_client, alice.headers, MODEL)
    job = take(server_client, bob.headers, regen_pop("contract machine", MODEL))
    assert server_client.put(job["r2_upload"], content=picture()).status_code == 200
    note = {"type": "batch_index", "value": "see_ref", "ref": "0"}
    done = hand_in(
        server_client, bob.headers, id=job["id"], generation="R2", seed=1, gen_metadata=[note]
    )
    assert_is("GenerationSubmitted", done.json())
    return request_id


def test_a_request_that_waits_for_a_worker(http: httpx.Client, alice: Person) -> None:
    answer = http.post(
        "/api/v2/generate/async", headers=alice.headers, json=image_body(f"nobody's {uuid4()}")
    )
    assert answer.status_code == 202
    queued = answer.json()
    assert_is("RequestAsync", queued)
    assert queued["warnings"][0]["code"] == "NoAvailableWorker"
    check = http.get(f"/api/v2/generate/check/{queued['id']}").json()
    assert_is("RequestStatusCheck", check)
    assert check["is_possible"] is False
    cancelled = http.delete(f"/api/v2/generate/status/{queued['id']}")
    assert cancelled.status_code == 200
    assert_is("RequestStatusStable", cancelled.json())


def test_a_request_that_is_done(http: httpx.Client, finished: str) -> None:
    assert_is("RequestStatusCheck", http.get(f"/api/v2/generate/check/{finished}").json())
    status = http.get(f"/api/v2/generate/status/{finished}").json()
    assert_is("RequestStatusStable", status)
    (generation,) = status["generations"]
    assert None not in generation.values()


def test_a_dry_run(http: httpx.Client, alice: Person) -> None:
    answer = http.post(
        "/api/v2/generate/async", headers=alice.headers, json=image_body(MODEL, dry_run=True)
    )
    assert answer.status_code == 200
    assert answer.json()["kudos"] > 0


def test_a_job_and_the_lack_of_one(http: httpx.Client, alice: Person, bob: Person) -> None:
    pop = regen_pop("contract machine", MODEL)
    idle = http.post("/api/v2/generate/pop", headers=bob.headers, json=pop)
    assert idle.status_code == 200
    nothing = idle.json()
    assert (nothing["id"], nothing["ids"]) == (None, [])
    assert None not in nothing["skipped"].values()
    assert None not in nothing["payload"].values()
    loras = [{"name": "one"}, {"name": "7", "is_version": True, "inject_trigger": "t"}]
    tis = [{"name": "two", "inject_ti": "prompt"}]
    ask(http, alice.headers, MODEL, params={"loras": loras, "tis": tis, "clip_skip": 2})
    job = take(http, bob.headers, pop)
    assert_is("GenerationPayloadStable", job)
    hand_in(http, bob.headers, id=job["id"], generation="faulted", state="faulted", seed=-1)


@pytest.mark.usefixtures("finished")
def test_accounts(http: httpx.Client, alice: Person, bob: Person) -> None:
    for person in (alice, bob):
        mine = http.get("/api/v2/find_user", headers=person.headers).json()
        assert_is("UserDetails", mine)
        public = http.get(f"/api/v2/users/{mine['id']}").json()
        assert_is("UserDetails", public)
        assert public["contact"] is None
    everybody = http.get("/api/v2/users").json()
    assert everybody
    for user in everybody:
        assert_is("UserDetails", user)
        assert None not in user["kudos_details"].values()


def test_kudos_and_accounts_that_change(
    http: httpx.Client, alice: Person, bob: Person, operator: Person
) -> None:
    mine = http.get("/api/v2/find_user", headers=bob.headers).json()
    moved = {"username": mine["username"], "amount": 3}
    wait_until(
        lambda: http.get("/api/v2/find_user", headers=alice.headers).json()["kudos"] >= 3,
        "Alice's kudos are in her balance",
    )
    sent = http.post("/api/v2/kudos/transfer", headers=alice.headers, json=moved)
    assert sent.status_code == 200
    assert_is("KudosTransferred", sent.json())
    awarded = http.post("/api/v2/kudos/award", headers=operator.headers, json=moved)
    assert_is("KudosAwarded", awarded.json())
    edited = http.put(
        f"/api/v2/users/{mine['id']}", headers=bob.headers, json={"contact": "bob@example.org"}
    )
    assert_is("ModifyUser", edited.json())
    assert edited.json() == {"contact": "bob@example.org"}


@pytest.mark.usefixtures("finished")
def test_workers(http: httpx.Client, bob: Person) -> None:
    workers = http.get("/api/v2/workers").json()
    assert workers
    for worker in workers:
        assert_is("WorkerDetails", worker)
        assert worker["performance"].endswith("megapixelsteps per second")
    one = http.get("/api/v2/workers/name/contract machine").json()
    assert_is("WorkerDetails", one)
    assert one == http.get(f"/api/v2/workers/{one['id']}").json()
    edited = http.put(
        f"/api/v2/workers/{one['id']}", headers=bob.headers, json={"info": "by the contract"}
    )
    assert_is("ModifyWorker", edited.json())
    assert edited.json() == {"info": "by the contract"}


def test_a_worker_that_is_deleted(http: httpx.Client, bob: Person) -> None:
    http.post(
        "/api/v2/generate/pop", headers=bob.headers, json=regen_pop("short-lived machine", MODEL)
    )
    worker = http.get("/api/v2/workers/name/short-lived machine").json()
    deleted = http.delete(f"/api/v2/workers/{worker['id']}", headers=bob.headers)
    assert_is("DeletedWorker", deleted.json())
    gone = http.get(f"/api/v2/workers/{worker['id']}")
    assert (gone.status_code, gone.json()["rc"]) == (404, "WorkerNotFound")


@pytest.mark.usefixtures("finished")
def test_status(http: httpx.Client) -> None:
    models = http.get("/api/v2/status/models").json()
    assert models
    for model in models:
        assert_is("ActiveModel", model)
    (same,) = http.get(f"/api/v2/status/models/{MODEL}").json()
    assert same["name"] == MODEL
    assert_is("HordePerformance", http.get("/api/v2/status/performance").json())
    assert_is("HordeModes", http.get("/api/v2/status/modes").json())
    for piece in http.get("/api/v2/status/news").json():
        assert_is("Newspiece", piece)
    assert http.get("/api/v2/status/heartbeat").json()["message"] == "OK"


def test_refusals(http: httpx.Client) -> None:
    refused = http.get(f"/api/v2/generate/check/{uuid4()}")
    assert_is("RequestError", refused.json())
    invalid = http.post("/api/v2/generate/async", headers={"apikey": "0000000000"}, json={})
    assert invalid.status_code == 400
    assert_is("RequestValidationError", invalid.json())
    assert set(invalid.json()["errors"]) == {"prompt"}


def test_forms_and_the_lack_of_them(http: httpx.Client, alice: Person, bob: Person) -> None:
    body = {
        "source_image": base64.b64encode(picture("PNG")).decode(),
        "forms": [{"name": "describe", "payload": {"words": 3}}, {"name": "CodeFormers"}],
    }
    asked = http.post("/api/v2/interrogate/async", headers=alice.headers, json=body)
    assert asked.status_code == 202
    assert_is("RequestInterrogationResponse", asked.json())
    path = f"/api/v2/interrogate/status/{asked.json()['id']}"
    assert_is("InterrogationStatus", http.get(path).json())
    pop = {"name": "contract alchemist", "forms": ["describe", "CodeFormers"], "amount": 2}
    popped = http.post("/api/v2/interrogate/pop", headers=bob.headers, json=pop).json()
    assert_is("InterrogationPopPayload", popped)
    made = base64.b64encode(picture()).decode()
    results = {"describe": {"describe": {"words": "a b c"}}, "CodeFormers": {"CodeFormers": made}}
    for form in popped["forms"]:
        said = {"id": form["id"], "result": results[form["form"]]}
        done = http.post("/api/v2/interrogate/submit", headers=bob.headers, json=said)
        assert_is("GenerationSubmitted", done.json())
    status = http.get(path).json()
    assert_is("InterrogationStatus", status)
    assert [form["state"] for form in status["forms"]] == ["done", "done"]
    idle = http.post("/api/v2/interrogate/pop", headers=bob.headers, json=pop).json()
    assert_is("InterrogationPopPayload", idle)
    assert idle["forms"] is None
    assert_is("InterrogationStatus", http.delete(path).json())
    worker = http.get("/api/v2/workers/name/contract alchemist").json()
    assert_is("WorkerDetails", worker)


def test_statistics(http: httpx.Client) -> None:
    for path, model in (
        ("img/totals", "StatsImgTotals"),
        ("img/models", "ImgModelStats"),
        ("text/totals", "StatsTxtTotals"),
        ("text/models", "TxtModelStats"),
    ):
        assert_is(model, http.get(f"/api/v2/stats/{path}").json())
