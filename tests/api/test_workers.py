# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers on the wire: shown, edited, deleted."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from cast import Cast, image_pop

from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde
from openhorde.server.domain.kinds.table import KINDS
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store.users import Account

NAME = "Bob's machine"


@pytest.fixture
async def bob(join: Any) -> Any:
    """Has a worker."""
    return await join("Bob")


@pytest.fixture
async def owner(horde: Horde, bob: Any) -> Account:
    """Bob's account; his worker has checked in."""
    account = await horde.accounts.by_key(bob.key)
    assert account is not None
    await work.pop(horde, account, image_pop(), "9.9.9.9")
    return account


@pytest.fixture
async def path(http: httpx.AsyncClient, owner: Account) -> str:
    """Where Bob's worker is."""
    worker = (await http.get(f"/api/v2/workers/name/{NAME}")).json()
    return f"/api/v2/workers/{worker['id']}"


async def test_what_everybody_sees(http: httpx.AsyncClient, path: str) -> None:
    worker = (await http.get(path)).json()
    assert (worker["name"], worker["type"], worker["online"]) == (NAME, "image", True)
    assert worker["performance"] == "1.0 megapixelsteps per second"
    assert worker["models"] == ["stable_diffusion"]
    assert worker["max_pixels"] == 4_194_304
    assert worker["team"] == {"name": None, "id": None}
    assert (worker["maintenance_mode"], worker["requests_fulfilled"]) == (False, 0)
    assert "post-processing" in worker
    for hidden in ("owner", "ipaddr", "contact", "paused", "suspicious", "messages"):
        assert worker[hidden] is None


async def test_what_moderators_see(http: httpx.AsyncClient, path: str, bob: Any, join: Any) -> None:
    dora = await join("Dora", moderator=True)
    worker = (await http.get(path, headers=dora.headers)).json()
    assert (worker["owner"], worker["ipaddr"]) == (bob.alias, "9.9.9.9")
    assert (worker["paused"], worker["suspicious"], worker["messages"]) == (False, 0, [])
    assert (await http.get(path, headers=bob.headers)).json()["ipaddr"] is None


async def test_owners_may_be_public(horde: Horde, look: Any, path: str, bob: Any) -> None:
    await horde.pool.execute("update users set public_workers = true where id = $1", bob.id)
    worker = (await look(path)).json()
    assert (worker["owner"], worker["ipaddr"]) == (bob.alias, None)


async def test_the_list_and_its_filters(horde: Horde, look: Any, path: str) -> None:
    for query, names in (
        ("", [NAME]),
        ("?type=image", [NAME]),
        ("?type=text", []),
        ("?name=BOB", [NAME]),
        ("?name=nobody", []),
        ("?name=%25", []),
    ):
        found = (await look(f"/api/v2/workers{query}")).json()
        assert [worker["name"] for worker in found] == names, query
    assert (await look("/api/v2/workers?type=other")).status_code == 400
    await horde.pool.execute("update workers set checked_in_at = now() - interval '301 seconds'")
    assert (await look("/api/v2/workers")).json() == []
    assert (await look(path)).json()["online"] is False


async def test_what_is_not_there(http: httpx.AsyncClient, bob: Any) -> None:
    for missing in (str(uuid4()), "abc", "name/nobody", "name/%00", "name/a/b"):
        answer = await http.get(f"/api/v2/workers/{missing}")
        assert (answer.status_code, answer.json()["rc"]) == (404, "WorkerNotFound")
    answer = await http.put(
        f"/api/v2/workers/{uuid4()}", headers=bob.headers, json={"maintenance": True}
    )
    assert answer.status_code == 404
    assert (await http.delete("/api/v2/workers/x", headers=bob.headers)).status_code == 404


class TestEditing:
    """Owners and moderators change workers."""

    async def test_maintenance_with_words(
        self, horde: Horde, http: httpx.AsyncClient, path: str, bob: Any, owner: Account
    ) -> None:
        edit = {"maintenance": True, "maintenance_msg": "back at <b>noon</b>"}
        answer = await http.put(path, headers=bob.headers, json=edit)
        assert answer.json() == {"maintenance": True, "maintenance_msg": "back at noon"}
        assert (await http.get(path)).json()["maintenance_mode"] is True
        with pytest.raises(Refusal) as refused:
            await work.pop(horde, owner, image_pop(), "9.9.9.9")
        assert refused.value.facts["message"] == "back at noon"
        await http.put(path, headers=bob.headers, json={"maintenance": False})
        await work.pop(horde, owner, image_pop(), "9.9.9.9")
        message = await horde.pool.fetchval("select maintenance_message from workers")
        assert message is None

    async def test_name_and_info(self, http: httpx.AsyncClient, path: str, bob: Any) -> None:
        edit = {"name": "Another name", "info": "A good one"}
        assert (await http.put(path, headers=bob.headers, json=edit)).json() == edit
        worker = (await http.get("/api/v2/workers/name/Another name")).json()
        assert worker["info"] == "A good one"

    async def test_names_are_taken_once(
        self, horde: Horde, http: httpx.AsyncClient, path: str, bob: Any, owner: Account
    ) -> None:
        await work.pop(horde, owner, image_pop(name="Second machine"), "9.9.9.9")
        answer = await http.put(path, headers=bob.headers, json={"name": "Second machine"})
        assert (answer.status_code, answer.json()["rc"]) == (400, "WorkerNameAlreadyExists")

    async def test_bounds(self, http: httpx.AsyncClient, path: str, bob: Any) -> None:
        for field, value in (("name", "abcd"), ("name", "x" * 101), ("info", "x" * 1001)):
            answer = await http.put(path, headers=bob.headers, json={field: value})
            assert answer.status_code == 400
            assert list(answer.json()["errors"]) == [field]

    async def test_only_owners_and_moderators(
        self, http: httpx.AsyncClient, path: str, bob: Any, join: Any
    ) -> None:
        charlie, dora = await join("Charlie"), await join("Dora", moderator=True)
        for headers, edit, code in (
            (charlie.headers, {"maintenance": True}, "NotOwner"),
            (bob.headers, {"paused": True}, "NotModerator"),
            ({"apikey": "0000000000"}, {"info": "mine"}, "AnonForbidden"),
        ):
            answer = await http.put(path, headers=headers, json=edit)
            assert (answer.status_code, answer.json()["rc"]) == (403, code)
        assert (await http.put(path, headers=dora.headers, json={"paused": True})).json() == {
            "paused": True
        }

    async def test_nothing_to_change(self, http: httpx.AsyncClient, path: str, bob: Any) -> None:
        for edit in ({}, {"maintenance": None}, {"unknown": 1}):
            answer = await http.put(path, headers=bob.headers, json=edit)
            assert (answer.status_code, answer.json()["rc"]) == (400, "NoWorkerModSelected")

    async def test_deleting(
        self, horde: Horde, http: httpx.AsyncClient, path: str, bob: Any, join: Any, owner: Account
    ) -> None:
        charlie = await join("Charlie")
        assert (await http.delete(path, headers=charlie.headers)).json()["rc"] == "NotOwner"
        gone = (await http.delete(path, headers=bob.headers)).json()
        assert gone == {"deleted_id": path.rpartition("/")[2], "deleted_name": NAME}
        assert (await http.delete(path, headers=bob.headers)).status_code == 404
        # It may come back, as a new one.
        await work.pop(horde, owner, image_pop(), "9.9.9.9")
        assert (await http.get(f"/api/v2/workers/name/{NAME}")).json()["id"] != gone["deleted_id"]


def test_sentences_of_speed() -> None:
    image, alchemy = KINDS["image"], KINDS["alchemy"]
    assert image.performance(2_345_678.0) == "2.3 megapixelsteps per second"
    assert image.performance(None) == "1.0 megapixelsteps per second"
    assert alchemy.performance(2.0) == "0.5 seconds per form"
    assert alchemy.performance(None) == "No requests fulfilled yet"


async def test_features_that_the_agent_lacks(horde: Horde, look: Any, cast: Cast) -> None:
    bob = await cast.bob()
    await work.pop(horde, bob, image_pop(bridge_agent="Something else:1:x"), "9.9.9.9")
    worker = (await look(f"/api/v2/workers/name/{NAME}")).json()
    assert (worker["img2img"], worker["painting"]) == (False, False)
