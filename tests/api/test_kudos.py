# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kudos on the wire: transfers, awards, history and roots."""

from dataclasses import replace
from typing import Any

import httpx
import msgspec
import pytest
from cast import Cast, ask, delivery, take

from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import create_app
from openhorde.server.boot import root_of
from openhorde.server.domain.chain import Head, root_message
from openhorde.server.kit.signing import is_signed
from openhorde.server.store import chain
from openhorde.server.tasks import fold_ledger, sign_ledger
from openhorde.wire.kudos import LedgerRoot

TRANSFER = "/api/v2/kudos/transfer"


@pytest.fixture
async def rich(horde: Horde, join: Any) -> Any:
    """Somebody with kudos."""
    alice = await join("Alice")
    awarded = {"username": alice.alias, "amount": 1000}
    settings = replace(horde.settings, admins=(alice.alias,))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(replace(horde, settings=settings))),
        base_url="http://horde.test",
    ) as client:
        answer = await client.post("/api/v2/kudos/award", headers=alice.headers, json=awarded)
    assert answer.json() == {"awarded": 1000}
    await fold_ledger.run(horde)
    return alice


async def test_a_transfer_and_its_repetition(
    horde: Horde, http: httpx.AsyncClient, rich: Any, join: Any
) -> None:
    bob = await join("Bob")
    headers = {**rich.headers, "Idempotency-Key": "k 1"}
    sending = {"username": bob.alias, "amount": 30}
    for _ in range(2):
        answer = await http.post(TRANSFER, headers=headers, json=sending)
        assert (answer.status_code, answer.json()) == (200, {"transferred": 30})
    conflict = await http.post(TRANSFER, headers=headers, json={**sending, "amount": 31})
    assert (conflict.status_code, conflict.json()["rc"]) == (400, "IdempotencyKeyConflict")
    await fold_ledger.run(horde)
    shown = (await http.get(f"/api/v2/users/{bob.id}")).json()
    assert (shown["kudos"], shown["kudos_details"]["received"]) == (30, 30)


async def test_an_amount_that_is_not_given_is_100(
    http: httpx.AsyncClient, rich: Any, join: Any
) -> None:
    bob = await join("Bob")
    answer = await http.post(TRANSFER, headers=rich.headers, json={"username": bob.alias})
    assert answer.json() == {"transferred": 100}


@pytest.mark.parametrize(
    ("body", "rc"),
    [
        ({"username": "Nobody#77", "amount": 1}, "InvalidTargetUsername"),
        ({"username": "Bob#2", "amount": -5}, "NegativeKudosTransfer"),
        ({"username": "Bob#2", "amount": 0}, "InvalidKudosTransferAmount"),
        ({"username": "Bob#2", "amount": 10**12}, "KudosTransferNotEnough"),
        ({"username": "0", "amount": 1}, "KudosTransferToAnon"),
        ({"username": "Bob#2", "amount": 10**20}, None),
        ({"username": "Bob#2", "amount": 1.5}, None),
        ({"amount": 1}, None),
    ],
)
async def test_refused_transfers(
    http: httpx.AsyncClient, rich: Any, join: Any, body: dict[str, Any], rc: str | None
) -> None:
    await join("Bob")
    answer = await http.post(TRANSFER, headers=rich.headers, json=body)
    assert (answer.status_code, answer.json().get("rc")) == (400, rc)
    if rc == "KudosTransferNotEnough":
        assert "986 available" in answer.json()["message"]


async def test_transfers_are_limited(horde: Horde, calling: Any, rich: Any, join: Any) -> None:
    bob = await join("Bob")
    limited = replace(horde, settings=replace(horde.settings, rate_limits=True))
    async with calling(create_app(limited)) as client:
        sending = {"username": bob.alias, "amount": 1}
        answers = [
            await client.post(TRANSFER, headers=rich.headers, json=sending) for _ in range(5)
        ]
    assert 429 in {answer.status_code for answer in answers}
    assert "1 per 1 second" in {answer.json().get("message") for answer in answers}


async def test_history(horde: Horde, http: httpx.AsyncClient, cast: Cast, join: Any) -> None:
    dora = await join("Dora", moderator=True)
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice)
    (job_id,) = await take(horde, bob)
    await work.deliver(horde, bob, delivery(job_id))
    await fold_ledger.run(horde)
    path = f"/api/v2/kudos/history?user={alice.id}"
    page = (await http.get(path + "&limit=2", headers=dora.headers)).json()
    assert len(page["entries"]) == 2
    rest = (await http.get(f"{path}&before={page['next']}", headers=dora.headers)).json()
    assert rest["next"] is None
    price = next(e for e in page["entries"] + rest["entries"] if e["purpose"] == "price")
    assert (price["request_id"], price["job_id"]) == (str(request_id), str(job_id))
    assert (price["effect"], price["counterparty"]) == ("balance", None)
    assert sum(line["kudos"] for line in price["lines"]) == pytest.approx(-price["amount"])
    assert price["time"].endswith("Z")
    oldest = rest["entries"][-1]
    assert (oldest["purpose"], oldest["amount"]) == ("admin", 100_000)


@pytest.mark.parametrize("query", ["before=x", "before=1-", "limit=0", "limit=101", "limit=x"])
async def test_pages_that_are_none(http: httpx.AsyncClient, join: Any, query: str) -> None:
    alice = await join("Alice")
    answer = await http.get(f"/api/v2/kudos/history?{query}", headers=alice.headers)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [query.partition("=")[0]]


async def test_roots_can_be_kept_and_proved(
    horde: Horde, http: httpx.AsyncClient, rich: Any
) -> None:
    await sign_ledger.run(horde)
    answer = await http.get("/api/v2/kudos/roots")
    (shown,) = msgspec.json.decode(answer.content, type=list[LedgerRoot])
    root = root_of(shown)
    assert [root] == await chain.roots(horde.statements, None, 10)
    message = root_message(root.day, Head(root.block, root.hash))
    assert is_signed(horde.ledger_key.public, root.signature, message)
    earlier = await http.get(f"/api/v2/kudos/roots?before={shown.day}")
    assert earlier.json() == []
    wrong = await http.get("/api/v2/kudos/roots?before=yesterday")
    assert (wrong.status_code, list(wrong.json()["errors"])) == (400, ["before"])
