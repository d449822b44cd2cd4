# SPDX-License-Identifier: AGPL-3.0-or-later
"""Status on the wire: true totals."""

from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from cast import Cast, ask, delivery, take

import openhorde
from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde
from openhorde.server.api.v2.models_shown import Demand, demand_by_model, show_models
from openhorde.server.domain.reference import ModelFacts, Reference
from openhorde.server.domain.text_reference import TextReference
from openhorde.server.store import status
from openhorde.server.tasks import count_deliveries

PIXELSTEPS = 64 * 64 * 4
TWO = {"n": 2, "width": 64, "height": 64, "steps": 4}


async def test_heartbeat(http: httpx.AsyncClient) -> None:
    beat = await http.get("/api/v2/status/heartbeat")
    assert beat.status_code == 200
    shown = beat.json()
    assert (shown["message"], shown["db_connection"]) == ("OK", "OK")
    assert shown["version"] == openhorde.__version__
    assert shown["queue"] == 0
    assert shown["threads"] > 0


async def test_heartbeat_without_database(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "answers", AsyncMock(side_effect=TimeoutError))
    beat = await http.get("/api/v2/status/heartbeat")
    assert beat.status_code == 200
    assert (beat.json()["message"], beat.json()["db_connection"]) == ("DOWN", "DOWN")


async def test_performance_counts_what_waits_and_what_runs(
    horde: Horde, look: Any, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice, params=TWO)
    await ask(horde, alice, params=TWO, models=["a model"])
    [job] = await take(horde, bob, threads=3)
    shown = (await look("/api/v2/status/performance")).json()
    assert shown["queued_requests"] == 4
    assert shown["queued_megapixelsteps"] == round(4 * PIXELSTEPS / 1e6, 2)
    assert (shown["worker_count"], shown["thread_count"]) == (1, 3)
    assert shown["text_worker_count"] == 0

    await horde.pool.execute("update jobs set things = 5000000 where id = $1", job)
    await work.deliver(horde, bob, delivery(job))
    await count_deliveries.run(horde)
    shown = (await look("/api/v2/status/performance")).json()
    assert shown["queued_requests"] == 3
    assert shown["past_minute_megapixelsteps"] == 5


async def test_models_and_their_filters(horde: Horde, look: Any, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice, params=TWO)
    await take(horde, bob, models=["stable_diffusion", "a/b c"], threads=2)
    found = (await look("/api/v2/status/models")).json()
    assert [(row["name"], row["count"], row["jobs"]) for row in found] == [
        ("a/b c", 2, 0),
        ("stable_diffusion", 2, 2),
    ]
    assert found[1]["queued"] == 2 * PIXELSTEPS
    assert (found[1]["eta"], found[1]["type"]) == (10_000, "image")
    for query, count in (
        ("?type=text", 0),
        ("?min_count=2", 2),
        ("?min_count=3", 0),
        ("?max_count=1", 0),
        ("?model_state=known", 2),
        ("?model_state=custom", 0),
    ):
        assert len((await look(f"/api/v2/status/models{query}")).json()) == count, query
    assert (await look("/api/v2/status/models?model_state=x")).status_code == 400
    one = (await look("/api/v2/status/models/a%2Fb c")).json()
    assert [row["name"] for row in one] == ["a/b c"]
    assert (await look("/api/v2/status/models/other")).json() == []


async def test_resting_workers_serve_nothing(horde: Horde, look: Any, cast: Cast) -> None:
    await take(horde, await cast.bob())
    await horde.pool.execute("update workers set maintenance = true")
    assert (await look("/api/v2/status/models")).json() == []
    assert (await look("/api/v2/status/performance")).json()["worker_count"] == 0


async def test_modes(http: httpx.AsyncClient, join: Any) -> None:
    dora, charlie = await join("Dora", moderator=True), await join("Charlie")
    public = {"maintenance_mode": False, "invite_only_mode": False}
    assert (await http.get("/api/v2/status/modes")).json() == public
    assert (await http.get("/api/v2/status/modes", headers=charlie.headers)).json() == public
    shown = (await http.get("/api/v2/status/modes", headers=dora.headers)).json()
    assert shown == {**public, "raid_mode": False}


async def test_news(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/v2/status/news")).json() == []


async def test_answers_are_kept_for_a_moment(
    horde: Horde, http: httpx.AsyncClient, cast: Cast
) -> None:
    before = (await http.get("/api/v2/status/models")).json()
    await take(horde, await cast.bob())
    assert (await http.get("/api/v2/status/models")).json() == before == []
    # Another question is another answer.
    assert (await http.get("/api/v2/status/models?min_count=0")).json() != []


def test_demand_is_shared_out_among_the_models_it_names() -> None:
    lanes = [(("a", "b"), Demand(3, 30)), (("b",), Demand(1, 10)), ((), Demand(7, 70))]
    assert demand_by_model(lanes) == {"a": Demand(1.5, 15), "b": Demand(2.5, 25)}


def test_known_models_that_nobody_serves_are_shown() -> None:
    reference = Reference([ModelFacts(name="known")])
    demands = {"known": Demand(1, 10), "unknown": Demand(1, 10)}
    rows = show_models([(["served"], 2)], {"served": 5.0}, demands, reference, "image")
    assert [(row.name, row.count) for row in rows] == [("served", 2), ("known", 0)]


def test_text_models_that_nobody_serves_are_not_shown() -> None:
    reference = Reference([ModelFacts(name="known")], texts=TextReference({"known": 7.0}))
    demands = {"known": Demand(1, 10)}
    rows = show_models([(["served"], 2)], {"served": 5.0}, demands, reference, "text")
    assert [(row.name, row.type) for row in rows] == [("served", "text")]


def test_eta() -> None:
    reference = Reference([])
    [row] = show_models([(["m"], 2)], {"m": 5.0}, {"m": Demand(1, 100)}, reference, "image")
    assert (row.eta, row.performance, row.queued) == (10, 5, 100)
