# SPDX-License-Identifier: AGPL-3.0-or-later
"""The old alchemist, replayed to the letter."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import httpx
import pytest
from contract.wire import OLD_AGENT, Person, picture
from PIL import Image

POST_PROCESSORS = [
    "GFPGAN",
    "RealESRGAN_x4plus",
    "RealESRGAN_x2plus",
    "RealESRGAN_x4plus_anime_6B",
    "NMKD_Siax",
    "4x_AnimeSharp",
    "CodeFormers",
    "strip_background",
]
RESULTS: dict[str, Any] = {
    "caption": "a red square",
    "nsfw": False,
    "interrogation": {"artists": [{"text": "nobody", "confidence": 0.31}], "tags": []},
    "GFPGAN": base64.b64encode(picture()).decode(),
}


def old_alchemist(**changes: Any) -> dict[str, Any]:
    """What the last old worker sends."""
    return {
        "name": "old alchemist",
        "forms": ["caption", "nsfw", "interrogation", *POST_PROCESSORS],
        "amount": 1,
        "priority_usernames": [],
        "threads": 1,
        "bridge_version": 24,
        "bridge_agent": OLD_AGENT,
        "max_tiles": 8,
        **changes,
    }


def in_base64(**changes: Any) -> str:
    """A picture as a client sends it."""
    return base64.b64encode(picture("PNG", **changes)).decode()


def ask(http: httpx.Client, person: Person, *forms: str, source: str | None = None) -> str:
    """The id of a request for these forms; without a source it is of a small picture."""
    body = {
        "source_image": source or in_base64(),
        "forms": [{"name": name} for name in forms],
    }
    answer = http.post("/api/v2/interrogate/async", headers=person.headers, json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def pop(http: httpx.Client, person: Person, **changes: Any) -> list[dict[str, Any]]:
    """The forms that the old alchemist is given."""
    body = old_alchemist(**changes)
    answer = http.post("/api/v2/interrogate/pop", headers=person.headers, json=body)
    assert answer.status_code == 200, answer.text
    forms: list[dict[str, Any]] = answer.json()["forms"]
    return forms


def submit(http: httpx.Client, person: Person, **body: Any) -> httpx.Response:
    """What the horde says to a result."""
    return http.post("/api/v2/interrogate/submit", headers=person.headers, json=body)


def fetched(source_image: str) -> tuple[int, int]:
    """The size of a source, which the old alchemist fetches whatever it is, without a key."""
    answer = httpx.get(source_image)
    answer.raise_for_status()
    with Image.open(BytesIO(answer.content)) as source:
        return source.size


@pytest.fixture
def linked() -> Iterator[str]:
    """The link to a picture that somebody else serves by plain http."""

    class Gallery(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = picture("PNG")
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *values: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Gallery) as gallery:
        thread = threading.Thread(target=gallery.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{gallery.server_port}/circle.png"
        gallery.shutdown()
        thread.join()


def status(http: httpx.Client, request_id: str) -> dict[str, Any]:
    """How far a request is."""
    shown: dict[str, Any] = http.get(f"/api/v2/interrogate/status/{request_id}").json()
    return shown


def test_it_takes_several_forms_reads_the_picture_and_hands_each_in(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    request_id = ask(http, alice, *RESULTS)
    forms = pop(http, bob, amount=4)
    assert {form["form"] for form in forms} == set(RESULTS)
    for form in forms:
        assert fetched(form["source_image"]) == (64, 64)
        if form["form"] == "GFPGAN":
            assert http.put(form["r2_upload"], content=picture()).status_code == 200
        # No state on success.
        answer = submit(http, bob, id=form["id"], result={form["form"]: RESULTS[form["form"]]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["reward"] > 0
    shown = status(http, request_id)
    assert shown["state"] == "done"
    results = {form["form"]: form["result"][form["form"]] for form in shown["forms"]}
    assert http.get(results.pop("GFPGAN")).status_code == 200
    assert results == {name: RESULTS[name] for name in results}


def test_it_fetches_the_link_that_the_client_gave(
    http: httpx.Client, alice: Person, bob: Person, linked: str
) -> None:
    request_id = ask(http, alice, "caption", source=linked)
    (form,) = pop(http, bob)
    assert form["source_image"] == linked
    assert fetched(form["source_image"]) == (64, 64)
    assert submit(http, bob, id=form["id"], result={"caption": "x"}).status_code == 200
    assert status(http, request_id)["state"] == "done"


def test_a_failure_without_a_result_is_taken(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    request_id = ask(http, alice, "caption")
    (form,) = pop(http, bob)
    for _ in range(2):
        answer = submit(http, bob, id=form["id"], state="faulted")
        assert (answer.status_code, answer.json()) == (200, {"reward": 0})
    assert status(http, request_id)["forms"] == [{"form": "caption", "state": "waiting"}]
    (form,) = pop(http, bob)
    assert submit(http, bob, id=form["id"], result={"caption": "x"}).status_code == 200


def test_a_result_may_be_json_in_a_string(http: httpx.Client, alice: Person, bob: Person) -> None:
    request_id = ask(http, alice, "nsfw")
    (form,) = pop(http, bob)
    answer = submit(http, bob, id=form["id"], result='{"nsfw": true}')
    assert answer.status_code == 200
    assert status(http, request_id)["forms"][0]["result"] == {"nsfw": True}


def test_a_second_result_says_already_submitted(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    ask(http, alice, "nsfw")
    (form,) = pop(http, bob)
    said = {"id": form["id"], "result": {"nsfw": True}}
    assert submit(http, bob, **said).status_code == 200
    again = submit(http, bob, **said)
    assert (again.status_code, again.json()["rc"]) == (400, "DuplicateGen")
    assert "already submitted" in again.json()["message"]


def test_a_picture_of_more_tiles_than_it_takes_is_not_for_it(
    http: httpx.Client, alice: Person, bob: Person
) -> None:
    request_id = ask(http, alice, "strip_background", source=in_base64(side=1200))
    assert pop(http, bob, max_tiles=8) is None
    (form,) = pop(http, bob, max_tiles=9)
    assert http.put(form["r2_upload"], content=picture()).status_code == 200
    answer = submit(http, bob, id=form["id"], result={"strip_background": "R2"})
    assert answer.json()["reward"] == 27
    assert status(http, request_id)["state"] == "done"


@pytest.mark.parametrize(
    "least",
    [
        {"name": "terse alchemist"},
        {"name": "terse alchemist", "forms": []},
        {"name": "terse alchemist", "forms": ["a form of the future"], "hobbies": ["x"]},
    ],
)
def test_the_least_that_an_alchemist_may_say(
    http: httpx.Client, bob: Person, least: dict[str, Any]
) -> None:
    answer = http.post("/api/v2/interrogate/pop", headers=bob.headers, json=least)
    assert (answer.status_code, answer.json()["forms"]) == (200, None)


def test_an_alchemist_in_maintenance_hears_these_words(http: httpx.Client, bob: Person) -> None:
    body = old_alchemist(name="resting alchemist")
    http.post("/api/v2/interrogate/pop", headers=bob.headers, json=body)
    worker = http.get("/api/v2/workers/name/resting alchemist").json()
    assert (worker["type"], worker["forms"]) == ("interrogation", body["forms"])
    http.put(f"/api/v2/workers/{worker['id']}", headers=bob.headers, json={"maintenance": True})
    answer = http.post("/api/v2/interrogate/pop", headers=bob.headers, json=body)
    assert (answer.status_code, answer.json()["rc"]) == (403, "WorkerMaintenance")
    assert "maintenance mode" in answer.json()["message"]
