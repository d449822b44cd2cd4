# SPDX-License-Identifier: AGPL-3.0-or-later
"""Texts on the wire: held pops and checks, streams, views and counts."""

import asyncio
from typing import Any
from unittest.mock import Mock

import httpx
import msgspec
import pytest
from cast import Cast
from text_cast import KOBOLD_AGENT, ask_text, text_pop, with_text_models

from openhorde.server.actions.horde import Horde
from openhorde.server.domain.kinds import text
from openhorde.server.tasks import count_deliveries, fold_ledger

POP = "/api/v2/generate/text/pop"
SUBMIT = "/api/v2/generate/text/submit"
ASYNC = "/api/v2/generate/text/async"


@pytest.fixture
def horde(horde: Horde) -> Horde:
    """A horde that knows the sizes of some text models."""
    return with_text_models(horde)


@pytest.fixture
async def bob(join: Any) -> Any:
    """Works."""
    return await join("Bob")


@pytest.fixture
async def charlie(horde: Horde, join: Any) -> Any:
    """Is nobody in particular, and has something to pay with."""
    person = await join("Charlie")
    await horde.pool.execute(
        "update accounts set balance_milli = 1000000 where number = $1", 2 * person.id
    )
    return person


def body(**changes: Any) -> dict[str, Any]:
    """What a scribe pops with."""
    told: dict[str, Any] = msgspec.to_builtins(text_pop(name="Bob's scribe"))
    return told | changes


async def ask(http: httpx.AsyncClient, person: Any, **changes: Any) -> str:
    """The id of a request that is accepted."""
    wanted = {"prompt": "Once", "models": ["seven"], **changes}
    answer = await http.post(ASYNC, headers=person.headers, json=wanted)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def write(http: httpx.AsyncClient, person: Any, text: str = "Once upon a time") -> str:
    """Have a waiting text written; the id of its job."""
    job = (await http.post(POP, headers=person.headers, json=body())).json()
    answer = await http.post(
        SUBMIT, headers=person.headers, json={"id": job["id"], "generation": text}
    )
    assert answer.status_code == 200, answer.text
    return str(job["id"])


async def test_a_text_is_asked_for_written_and_read(
    http: httpx.AsyncClient, charlie: Any, bob: Any
) -> None:
    queued = await http.post(
        ASYNC, headers=charlie.headers, json={"prompt": "Once", "models": ["seven"]}
    )
    assert queued.json()["kudos"] == pytest.approx(15.232 * 1.25 + 2)
    path = f"/api/v2/generate/text/status/{queued.json()['id']}"
    assert (await http.get(path)).json()["waiting"] == 1
    job_id = await write(http, bob)
    status = (await http.get(path)).json()
    assert (status["done"], status["finished"], status["waiting"]) == (True, 1, 0)
    (generation,) = status["generations"]
    workers = (await http.get("/api/v2/workers?type=text")).json()
    assert generation == {
        "id": job_id,
        "text": "Once upon a time",
        "model": "seven",
        "worker_id": workers[0]["id"],
        "worker_name": "Bob's scribe",
        "seed": 0,
        "state": "ok",
        "gen_metadata": [],
    }
    assert status["kudos"] == pytest.approx(15.232 / 4 + 2)


async def test_a_pop_that_waits_is_answered_with_the_text_that_joins(
    horde: Horde, http: httpx.AsyncClient, cast: Cast, bob: Any
) -> None:
    held = asyncio.create_task(http.post(POP, headers=bob.headers, json=body(wait=60)))
    async with asyncio.timeout(30):
        while len(horde.waiters) != 1:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await ask_text(horde, await cast.alice())
    answer = (await held).json()
    assert (answer["model"], answer["payload"]["prompt"]) == ("seven", "Once upon a time")


async def test_a_held_check_is_answered_when_a_text_is_done(
    http: httpx.AsyncClient, charlie: Any, bob: Any
) -> None:
    request_id = await ask(http, charlie)
    path = f"/api/v2/generate/check/{request_id}"
    state = (await http.get(f"{path}?wait=0")).headers["event-id"]
    await write(http, bob)
    done = await http.get(f"{path}?wait=30&since={state}")
    assert done.json()["done"]
    assert "generations" not in done.json()


async def test_what_was_written_is_counted_everywhere(
    horde: Horde, http: httpx.AsyncClient, charlie: Any, bob: Any, look: Any
) -> None:
    await ask(http, charlie, params={"n": 2})
    await write(http, bob, "a" * 160)
    await fold_ledger.run(horde)
    await count_deliveries.run(horde)
    performance = (await look("/api/v2/status/performance")).json()
    assert performance["queued_text_requests"] == 1
    assert performance["queued_tokens"] == 80
    assert performance["past_minute_tokens"] == 40
    assert (performance["text_worker_count"], performance["text_thread_count"]) == (1, 1)
    assert (performance["queued_requests"], performance["worker_count"]) == (0, 0)
    worker = (await http.get("/api/v2/workers/name/Bob's scribe")).json()
    assert (worker["type"], worker["tokens_generated"]) == ("text", 40)
    assert (worker["max_length"], worker["max_context_length"]) == (512, 2048)
    assert worker["requests_fulfilled"] == 1
    assert worker["performance"].endswith(" tokens per second")
    (model,) = (await http.get("/api/v2/status/models?type=text")).json()
    assert (model["name"], model["type"], model["count"]) == ("seven", "text", 1)
    assert model["performance"] > 0
    custom = (await http.get("/api/v2/status/models?type=text&model_state=custom")).json()
    assert custom == []
    for person, records in (
        (charlie, ("usage", "request")),
        (bob, ("contribution", "fulfillment")),
    ):
        shown = (await http.get("/api/v2/find_user", headers=person.headers)).json()["records"]
        assert (shown[records[0]]["tokens"], shown[records[1]]["text"]) == (40, 1)
        assert (shown[records[0]]["megapixelsteps"], shown[records[1]]["image"]) == (0, 0)
    totals = (await http.get("/api/v2/stats/text/totals")).json()
    assert totals["total"] == {"requests": 1, "tokens": 40}
    models = (await http.get("/api/v2/stats/text/models")).json()
    assert models["total"] == {"seven": 1}


async def test_a_job_that_cannot_be_shown_goes_back_into_the_queue(
    http: httpx.AsyncClient, charlie: Any, bob: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await ask(http, charlie)
    with monkeypatch.context() as broken:
        broken.setattr(text, "payload", Mock(side_effect=RuntimeError("torn")))
        refused = await http.post(POP, headers=bob.headers, json=body())
    assert refused.status_code == 500
    path = f"/api/v2/generate/text/status/{request_id}"
    assert (await http.get(path)).json()["waiting"] == 1
    await write(http, bob)
    assert (await http.get(path)).json()["finished"] == 1


async def test_history_explains_what_a_text_cost(
    horde: Horde, http: httpx.AsyncClient, charlie: Any, bob: Any
) -> None:
    await ask(http, charlie)
    await write(http, bob)
    await fold_ledger.run(horde)
    entries = (await http.get("/api/v2/kudos/history", headers=charlie.headers)).json()["entries"]
    (price,) = [each for each in entries if each["purpose"] == "price"]
    assert sum(line["kudos"] for line in price["lines"]) == pytest.approx(15.232 / 4)
    assert price["lines"][0]["label"] == "80 tokens"


async def test_a_nul_in_a_text_is_refused_and_the_job_lives_on(
    http: httpx.AsyncClient, charlie: Any, bob: Any
) -> None:
    await ask(http, charlie)
    job = (await http.post(POP, headers=bob.headers, json=body())).json()
    wrong = await http.post(
        SUBMIT, headers=bob.headers, json={"id": job["id"], "generation": "a\0b"}
    )
    assert (wrong.status_code, wrong.json()["rc"]) == (400, "NulByteInPayload")
    right = await http.post(SUBMIT, headers=bob.headers, json={"id": job["id"], "generation": "ab"})
    assert right.status_code == 200


async def test_the_active_texts_of_an_account_are_told(
    http: httpx.AsyncClient, charlie: Any
) -> None:
    request_id = await ask(http, charlie)
    mine = (await http.get("/api/v2/find_user", headers=charlie.headers)).json()
    assert mine["active_generations"]["text"] == [request_id]
    assert mine["active_generations"]["image"] == []


async def test_an_agent_that_nobody_knows_writes_for_less(
    http: httpx.AsyncClient, charlie: Any, bob: Any
) -> None:
    rewards = []
    for agent in (KOBOLD_AGENT, "unknown:0:unknown"):
        await ask(http, charlie)
        said = body(bridge_agent=agent, name=f"scribe of {agent}")
        job = (await http.post(POP, headers=bob.headers, json=said)).json()
        answer = await http.post(
            SUBMIT, headers=bob.headers, json={"id": job["id"], "generation": "a" * 400}
        )
        rewards.append(answer.json()["reward"])
    assert rewards == [15.232, pytest.approx(15.232 * 0.3, abs=0.001)]
