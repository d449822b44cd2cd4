# SPDX-License-Identifier: AGPL-3.0-or-later
"""Users on the wire: three levels of seeing."""

from typing import Any

import httpx
import pytest
from cast import Cast, ask, delivery, take

from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde
from openhorde.server.tasks import count_deliveries, fold_ledger

SELF = {"sharedkey_ids", "contact", "vpn", "special", "active_generations"}
MODERATOR = {"evaluating_kudos", "monthly_kudos", "suspicious", "admin_comment", "proxy_passkey"}
EVERYBODY = {
    "username",
    "id",
    "kudos",
    "kudos_details",
    "records",
    "concurrency",
    "worker_invited",
    "moderator",
    "trusted",
    "flagged",
    "pseudonymous",
    "worker_count",
    "account_age",
    "service",
    "deleted",
    "education",
    "customizer",
    "usage",
    "contributions",
    "styles",
}


def _shown(user: dict[str, Any]) -> set[str]:
    return {name for name, value in user.items() if value is not None}


async def test_levels(http: httpx.AsyncClient, join: Any) -> None:
    alice, charlie = await join("Alice"), await join("Charlie")
    dora = await join("Dora", moderator=True)
    path = f"/api/v2/users/{alice.id}"
    public = (await http.get(path)).json()
    assert _shown(public) == EVERYBODY
    assert (await http.get(path, headers=charlie.headers)).json() == public
    own = (await http.get(path, headers=alice.headers)).json()
    assert EVERYBODY | {"worker_ids"} < _shown(own) <= EVERYBODY | {"worker_ids"} | SELF
    assert own["active_generations"] == {"image": [], "text": [], "alchemy": []}
    moderated = (await http.get(path, headers=dora.headers)).json()
    assert {"evaluating_kudos", "monthly_kudos", "suspicious"} <= _shown(moderated)
    assert _shown(moderated) <= EVERYBODY | {"worker_ids"} | SELF | MODERATOR


async def test_every_field_is_always_there(http: httpx.AsyncClient) -> None:
    shown = (await http.get("/api/v2/users/0")).json()
    assert set(shown) == EVERYBODY | {"worker_ids"} | SELF | MODERATOR


async def test_many_names_for_one(http: httpx.AsyncClient, join: Any) -> None:
    alice = await join("Alice")
    for name in (str(alice.id), alice.alias, f"x#y#{alice.id}", f"#{alice.id}"):
        found = await http.get("/api/v2/users/" + name.replace("#", "%23"))
        assert found.json()["username"] == "Alice#1"


@pytest.mark.parametrize("name", ["99", "-1", "x", "1.0", "2147483648", "9" * 30, "%00", "²", "1#"])
async def test_nobody(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get("/api/v2/users/" + name.replace("#", "%23"))
    assert (answer.status_code, answer.json()["rc"]) == (404, "UserNotFound")


async def test_find_user(http: httpx.AsyncClient, join: Any) -> None:
    alice = await join("Alice")
    found = (await http.get("/api/v2/find_user", headers=alice.headers)).json()
    assert (found["username"], found["id"], found["worker_ids"]) == (alice.alias, alice.id, [])
    anonymous = await http.get("/api/v2/find_user", headers={"apikey": "0000000000"})
    assert anonymous.json()["username"] == "Anonymous#0"
    assert anonymous.json()["concurrency"] == 500


async def test_balances_records_and_open_requests(
    horde: Horde, http: httpx.AsyncClient, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice, params={"n": 2, "width": 64, "height": 64, "steps": 4})
    job = (await take(horde, bob))[0]
    await work.deliver(horde, bob, delivery(job))
    await fold_ledger.run(horde)
    await count_deliveries.run(horde)

    payer = (await http.get(f"/api/v2/users/{alice.id}")).json()
    worker = (await http.get(f"/api/v2/users/{bob.id}")).json()
    assert payer["kudos"] < 100_000
    assert payer["kudos_details"]["admin"] == 100_000
    assert payer["kudos_details"]["accumulated"] == pytest.approx(payer["kudos"] - 100_000)
    assert worker["kudos_details"]["accumulated"] > 0
    assert worker["worker_count"] == 1
    assert payer["records"]["request"]["image"] == 1
    assert payer["usage"]["requests"] == 1
    assert worker["records"]["fulfillment"]["image"] == 1
    assert worker["contributions"]["fulfillments"] == 1
    assert worker["contributions"]["megapixelsteps"] == pytest.approx(64 * 64 * 4 / 1e6)
    for user in (payer, worker):
        assert all(isinstance(each, (int, float)) for each in user["kudos_details"].values())


async def test_open_requests_show_to_their_owner(
    horde: Horde, http: httpx.AsyncClient, cast: Cast, join: Any
) -> None:
    dora = await join("Dora", moderator=True)
    alice, anonymous = await cast.alice(), await cast.anonymous()
    request_id = await ask(horde, alice)
    await ask(horde, anonymous)
    shown = (await http.get(f"/api/v2/users/{alice.id}", headers=dora.headers)).json()
    assert shown["active_generations"]["image"] == [str(request_id)]
    hidden = (await http.get("/api/v2/users/0", headers=dora.headers)).json()
    assert hidden["active_generations"]["image"] == []


async def test_the_list(horde: Horde, look: Any, cast: Cast) -> None:
    for number in range(26):
        await cast.make(f"User{number}", kudos=100 + number)
    first = (await look("/api/v2/users")).json()
    assert [user["kudos"] for user in first] == list(range(125, 100, -1))
    assert (await look("/api/v2/users?sort=nonsense")).json() == first
    oldest = (await look("/api/v2/users?sort=age")).json()
    assert [user["id"] for user in oldest] == list(range(25))
    second = (await look("/api/v2/users?page=2&sort=age")).json()
    assert [user["id"] for user in second] == [25, 26]
    assert (await look("/api/v2/users?page=3")).json() == []
    assert (await look("/api/v2/users?page=10001")).json() == []
    assert _shown(first[0]) == EVERYBODY
