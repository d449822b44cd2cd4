# SPDX-License-Identifier: AGPL-3.0-or-later
"""Alchemy on the wire."""

import asyncio
import base64
from typing import Any

import httpx
import pytest
from cast import picture_text

from openhorde.server.actions.horde import Horde
from openhorde.server.kit.fetch import Fetcher, FetchRefused
from openhorde.server.tasks import count_deliveries, fold_ledger

POP = {"name": "Bob's alchemist", "forms": ["caption", "nsfw", "interrogation", "GFPGAN"]}
NOBODY = "00000000-0000-0000-0000-000000000000"
URL = "https://pictures.test/circle.png"


@pytest.fixture
async def alice(horde: Horde, join: Any) -> Any:
    """Pays, and has something to pay with."""
    person = await join("Alice")
    await horde.pool.execute(
        "update accounts set balance_milli = 1000000 where number = $1", 2 * person.id
    )
    return person


@pytest.fixture
async def bob(join: Any) -> Any:
    """Works."""
    return await join("Bob")


async def ask(http: httpx.AsyncClient, person: Any, *forms: str, **changes: Any) -> Any:
    """What the horde says to a request."""
    body = {"source_image": picture_text(), "forms": [{"name": name} for name in forms], **changes}
    return await http.post("/api/v2/interrogate/async", headers=person.headers, json=body)


async def pop(http: httpx.AsyncClient, person: Any, **changes: Any) -> Any:
    """The forms that a worker is given."""
    body = POP | changes
    answer = await http.post("/api/v2/interrogate/pop", headers=person.headers, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["forms"]


async def hand_in(http: httpx.AsyncClient, person: Any, **body: Any) -> httpx.Response:
    """What the horde says to a result."""
    return await http.post("/api/v2/interrogate/submit", headers=person.headers, json=body)


@pytest.mark.parametrize("dry_run", [False, True])
async def test_the_answer_tells_whether_anybody_can_do_it(
    http: httpx.AsyncClient, alice: Any, bob: Any, dry_run: bool
) -> None:
    await pop(http, bob, forms=["caption"])
    possible = (await ask(http, alice, "caption", dry_run=dry_run)).json()
    assert (possible["is_possible"], possible["workers_fitting"]) == (True, 1)
    assert possible["eta"]["p90"] > 0
    impossible = (await ask(http, alice, "caption", "vectorize", dry_run=dry_run)).json()
    assert (impossible["is_possible"], impossible["workers_fitting"]) == (False, 0)
    assert impossible["ruled_out"][0]["sentence"] in impossible["message"]


async def test_a_picture_is_captioned(http: httpx.AsyncClient, alice: Any, bob: Any) -> None:
    queued = await ask(http, alice, "caption", "GFPGAN")
    assert queued.status_code == 202
    prospects = {"is_possible", "workers_fitting"}
    assert set(queued.json()) == {"id", "kudos", "message"} | prospects
    assert queued.json()["kudos"] == 1 + 3 + 2
    path = f"/api/v2/interrogate/status/{queued.json()['id']}"
    assert (await http.get(path)).json() == {
        "state": "waiting",
        "forms": [
            {"form": "caption", "state": "waiting"},
            {"form": "GFPGAN", "state": "waiting"},
        ],
    }
    caption, face = sorted(await pop(http, bob, amount=5), key=lambda form: -ord(form["form"][0]))
    assert set(caption) == {"id", "form", "source_image", "ttl"}
    assert (caption["form"], caption["ttl"]) == ("caption", 180)
    source = await http.get(caption["source_image"])
    assert (source.status_code, source.headers["content-type"]) == (200, "image/png")
    assert (face["form"], "r2_upload" in face) == ("GFPGAN", True)
    assert (await http.put(face["r2_upload"], content=source.content)).status_code == 200
    for form, result in ((caption, {"caption": "a red square"}), (face, {"GFPGAN": "R2"})):
        answer = await hand_in(http, bob, id=form["id"], result=result)
        assert (answer.status_code, answer.json()["reward"] > 0) == (200, True)
    shown = (await http.get(path)).json()
    assert shown["state"] == "done"
    assert shown["forms"][0] == {
        "form": "caption",
        "state": "done",
        "result": {"caption": "a red square"},
    }
    made = await http.get(shown["forms"][1]["result"]["GFPGAN"])
    assert made.content == source.content


async def test_nothing_to_do(http: httpx.AsyncClient, bob: Any) -> None:
    body = POP | {"name": "idle"}
    answer = await http.post("/api/v2/interrogate/pop", headers=bob.headers, json=body)
    assert answer.json() == {
        "forms": None,
        "skipped": dict.fromkeys(
            (
                "worker_id",
                "performance",
                "untrusted",
                "bridge_version",
                "kudos",
                "max_tiles",
                "forms",
                "unsafe_ip",
            ),
            0,
        ),
    }


async def test_a_dry_run_tells_the_price(http: httpx.AsyncClient, alice: Any) -> None:
    priced = await ask(
        http, alice, "GFPGAN", "nsfw", source_image=picture_text(600, 600), dry_run=True
    )
    assert priced.status_code == 200
    shown = priced.json()
    assert shown["kudos"] == 12 + 1 + 2
    assert sum(line["kudos"] for line in shown["lines"]) == shown["kudos"]
    assert "No worker is online" in shown["message"]


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"forms": [{"name": "cooking"}]}, None, "forms"),
        ({"forms": []}, None, "forms"),
        ({"forms": [{"name": "nsfw"}, {"name": "nsfw"}]}, "BadRequest", "forms names nsfw"),
        ({"forms": [{"name": "nsfw", "payload": {"x": "y" * 10_000}}]}, "BadRequest", "payload"),
        ({"webhook": "http://example.org/hook"}, "BadRequest", "webhook"),
        ({"source_image": "no picture"}, "ImageValidationFailed", "source_image"),
        ({"source_image": ""}, None, "source_image"),
        (
            {"source_image": base64.b64encode(base64.b64decode(picture_text())[:60]).decode()},
            "ImageValidationFailed",
            "source_image",
        ),
        (
            {"source_image": picture_text(16_000, 5_000)},
            "SourceImageResolutionExceeded",
            "source_image",
        ),
        (
            {"source_image": picture_text(10, 16_383 - 10)},
            None,
            None,
        ),
    ],
)
async def test_what_is_wrong_is_named(
    http: httpx.AsyncClient, alice: Any, changes: Any, code: str | None, words: str | None
) -> None:
    answer = await ask(http, alice, **{"forms": [{"name": "nsfw"}], **changes})
    if words is None:
        assert answer.status_code == 202, answer.text
        return
    assert answer.status_code == 400, answer.text
    assert answer.json().get("rc") == code
    assert words in answer.text


async def test_a_picture_of_many_tiles_and_few_pixels_is_refused_by_its_tiles(
    http: httpx.AsyncClient, alice: Any
) -> None:
    # 17 x 16 tiles of which the last ones are one pixel wide: fewer pixels than 255 tiles have.
    answer = await ask(http, alice, "nsfw", source_image=picture_text(8193, 7700))
    assert answer.status_code == 400
    assert answer.json()["rc"] == "SourceImageResolutionExceeded"
    assert "source_image: the picture has 272 tiles" in answer.json()["message"]


async def test_urls_are_looked_at_and_handed_on(
    http: httpx.AsyncClient, horde: Horde, alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = base64.b64decode(picture_text(600, 100))

    async def get(self: Fetcher, url: str) -> bytes:
        if "gone" in url:
            raise FetchRefused("unreachable", "nobody there")
        return data if "circle" in url else b"no picture"

    monkeypatch.setattr(Fetcher, "get", get)
    queued = await ask(http, alice, "GFPGAN", source_image=URL)
    assert queued.json()["kudos"] == 2 * 3 + 1
    (form,) = await pop(http, bob)
    assert form["source_image"] == URL
    await hand_in(http, bob, id=form["id"], result={"GFPGAN": picture_text()})
    for url in ("https://pictures.test/gone", "https://pictures.test/words"):
        answer = await ask(http, alice, "caption", source_image=url)
        assert (answer.status_code, answer.json()["rc"]) == (400, "ImageValidationFailed")
        assert answer.json()["message"].startswith("source_image: ")


@pytest.mark.parametrize("agent", ["AI Horde Worker~unknown:24:x", "unknown:0:x", "another:1:x"])
async def test_every_alchemist_is_given_a_link(
    http: httpx.AsyncClient, alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch, agent: str
) -> None:
    data = base64.b64decode(picture_text())

    async def get(self: Fetcher, url: str) -> bytes:
        return data

    monkeypatch.setattr(Fetcher, "get", get)
    said = {"name": "an alchemist", "bridge_agent": agent}
    for link in ("http://pictures.test/circle.png", URL):
        await ask(http, alice, "caption", source_image=link)
        (form,) = await pop(http, bob, **said)
        assert form["source_image"] == link
    await ask(http, alice, "caption")
    (form,) = await pop(http, bob, **said)
    assert (await http.get(form["source_image"])).content[:4] == b"\x89PNG"


async def test_payloads_reach_the_worker_of_their_form(
    http: httpx.AsyncClient, alice: Any, bob: Any
) -> None:
    told = {"max_length": 20}
    forms = [{"name": "nsfw"}, {"name": "caption", "payload": told}]
    await ask(http, alice, forms=forms)
    given = {form["form"]: form.get("payload") for form in await pop(http, bob, amount=2)}
    assert given == {"nsfw": None, "caption": told}


async def test_a_request_is_cancelled_by_whoever_knows_it(
    http: httpx.AsyncClient, alice: Any, bob: Any
) -> None:
    request_id = (await ask(http, alice, "caption", "nsfw")).json()["id"]
    path = f"/api/v2/interrogate/status/{request_id}"
    cancelled = (await http.delete(path)).json()
    assert [form["state"] for form in cancelled["forms"]] == ["cancelled", "cancelled"]
    assert await pop(http, bob) is None
    for missing in (NOBODY, "no id", request_id.replace("-", "")[:30]):
        for method in ("GET", "DELETE"):
            answer = await http.request(method, f"/api/v2/interrogate/status/{missing}")
            assert (answer.status_code, answer.json()["rc"]) == (404, "RequestNotFound")


@pytest.mark.parametrize(
    "junk",
    [None, "junk", {}, {"nsfw": 1}, {"nsfw": True, "deep": [[[]]]} | {"caption": None}],
)
async def test_junk_names_the_result(
    http: httpx.AsyncClient, alice: Any, bob: Any, junk: Any
) -> None:
    request_id = (await ask(http, alice, "caption")).json()["id"]
    (form,) = await pop(http, bob)
    answer = await hand_in(http, bob, id=form["id"], result=junk)
    assert (answer.status_code, answer.json()["rc"]) == (400, "BadRequest")
    assert answer.json()["message"].startswith("result ")
    shown = (await http.get(f"/api/v2/interrogate/status/{request_id}")).json()
    assert shown["forms"][0]["state"] == "processing"
    assert (await hand_in(http, bob, id=form["id"], result={"caption": "x"})).status_code == 200


async def test_a_picture_may_come_along(http: httpx.AsyncClient, alice: Any, bob: Any) -> None:
    request_id = (await ask(http, alice, "GFPGAN")).json()["id"]
    (form,) = await pop(http, bob)
    broken = await hand_in(http, bob, id=form["id"], result={"GFPGAN": "no picture"})
    assert (broken.status_code, broken.json()["rc"]) == (400, "ImageValidationFailed")
    assert broken.json()["message"].startswith("result: ")
    done = await hand_in(http, bob, id=form["id"], result={"GFPGAN": picture_text()})
    assert done.status_code == 200
    shown = (await http.get(f"/api/v2/interrogate/status/{request_id}")).json()
    made = await http.get(shown["forms"][0]["result"]["GFPGAN"])
    assert made.headers["content-type"] == "image/webp"


async def test_only_users_ask_and_work(http: httpx.AsyncClient, alice: Any, bob: Any) -> None:
    await ask(http, alice, "caption")
    (form,) = await pop(http, bob)
    wrong = await hand_in(http, alice, id=form["id"], result={"caption": "x"})
    assert (wrong.status_code, wrong.json()["rc"]) == (403, "WrongCredentials")
    for job_id in (NOBODY, "no id", ""):
        unknown = await hand_in(http, bob, id=job_id, result={"caption": "x"})
        assert (unknown.status_code, unknown.json()["rc"]) == (404, "InvalidJobID")
    bodies: dict[str, Any] = {
        "async": {"source_image": "x", "forms": [{"name": "nsfw"}]},
        "pop": POP,
        "submit": {"id": form["id"], "result": {"caption": "x"}},
    }
    for path, bare in bodies.items():
        stranger = {"apikey": "nobody's key"}
        answer = await http.post(f"/api/v2/interrogate/{path}", headers=stranger, json=bare)
        assert (answer.status_code, answer.json()["rc"]) == (401, "InvalidAPIKey")
        answer = await http.post(f"/api/v2/interrogate/{path}", json=bare)
        assert answer.status_code == 400
    nobody = {"apikey": "0000000000"}
    answer = await http.post("/api/v2/interrogate/pop", headers=nobody, json=POP)
    assert (answer.status_code, answer.json()["rc"]) == (403, "AnonForbiddenWorker")


async def test_events_and_held_checks_tell_of_forms(
    http: httpx.AsyncClient, alice: Any, bob: Any
) -> None:
    request_id = (await ask(http, alice, "caption", "nsfw")).json()["id"]
    check = (await http.get(f"/api/v2/generate/check/{request_id}")).json()
    assert (check["waiting"], check["finished"], check["done"]) == (2, 0, False)
    held = asyncio.create_task(
        http.get(f"/api/v2/generate/check/{request_id}", params={"wait": 30})
    )
    forms = await pop(http, bob, amount=2)
    results = {"caption": {"caption": "red"}, "nsfw": {"nsfw": False}}
    for form in forms:
        await hand_in(http, bob, id=form["id"], result=results[form["form"]])
    assert (await held).status_code == 200
    stream = await http.get(f"/api/v2/generate/events/{request_id}")
    names = [line[7:] for line in stream.text.splitlines() if line.startswith("event: ")]
    assert names == ["started", "started", "generation", "generation", "done"]
    assert '"result":{"caption":"red"}' in stream.text
    assert '"state":"done"' in stream.text


async def test_alchemists_are_listed_and_counted(
    http: httpx.AsyncClient, look: Any, horde: Horde, alice: Any, bob: Any
) -> None:
    await ask(http, alice, "caption", "nsfw", "interrogation")
    forms = await pop(http, bob, threads=3, forms=["caption", "cooking", "nsfw"], max_tiles=7)
    shown = (await look("/api/v2/status/performance")).json()
    assert (shown["queued_forms"], shown["interrogator_count"]) == (3, 1)
    assert (shown["interrogator_thread_count"], shown["worker_count"]) == (3, 0)
    assert (shown["queued_requests"], shown["queued_megapixelsteps"]) == (0, 0)
    (worker,) = (await look("/api/v2/workers?type=interrogation")).json()
    assert (worker["type"], worker["forms"], worker["models"]) == (
        "interrogation",
        ["caption", "nsfw"],
        [],
    )
    assert worker["performance"] == "No requests fulfilled yet"
    assert (await look("/api/v2/workers?type=image")).json() == []
    await hand_in(http, bob, id=forms[0]["id"], result={forms[0]["form"]: "x"})
    assert (await look("/api/v2/status/models")).json() == []
    mine = (await http.get("/api/v2/find_user", headers=alice.headers)).json()
    assert len(mine["active_generations"]["alchemy"]) == 1
    await count_deliveries.run(horde)
    await fold_ledger.run(horde)
    worked = (await http.get("/api/v2/find_user", headers=bob.headers)).json()["records"]
    assert worked["fulfillment"]["interrogation"] == 1
    (worker,) = (await look("/api/v2/workers?type=interrogation")).json()
    assert worker["performance"].endswith(" seconds per form")
    assert worker["requests_fulfilled"] == 1
    assert worker["kudos_details"]["generated"] == 1
