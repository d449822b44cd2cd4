# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may call what: every operation of the table, with every sort of key."""

from typing import Any

import httpx
from cast import picture_text

from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import create_app
from openhorde.server.api.operations import Call, Operation, Who
from openhorde.server.api.table import OPERATIONS

WRONG = {"apikey": "a-key-that-nobody-has"}
DECLARED = [operation for operation in OPERATIONS if operation.tag]


def _path(operation: Operation) -> str:
    return operation.path.replace("{", "").replace(":path}", "").replace("}", "")


def _call(operation: Operation, **more: Any) -> tuple[str, str, dict[str, Any]]:
    """A call whose body is sound, so that nothing but the key decides."""
    bodies = {
        "post_image_async_generate": {"prompt": "x", "dry_run": True},
        "post_image_job_pop": {"name": "Somebody's machine"},
        "post_image_job_submit": {"id": "7"},
        "post_interrogate": {
            "source_image": picture_text(),
            "forms": [{"name": "nsfw"}],
            "dry_run": True,
        },
        "post_interrogate_pop": {"name": "Somebody's alchemist"},
        "post_interrogate_submit": {"id": "7"},
        "post_text_async_generate": {"prompt": "x", "dry_run": True},
        "post_text_job_pop": {"name": "Somebody's scribe", "models": ["x"]},
        "post_text_job_submit": {"id": "7"},
        "post_image_job_progress": {"id": "7", "step": 1, "steps": 2},
        "post_register": {"username": "Ann"},
        "post_transfer_kudos": {"username": "Ann#7"},
        "post_award_kudos": {"username": "Ann#7", "amount": 1},
    }
    if operation.body is not None:
        more["json"] = bodies.get(operation.name, {})
    return operation.method, _path(operation), more


async def test_a_key_that_nobody_has(http: httpx.AsyncClient) -> None:
    for operation in DECLARED:
        method, path, more = _call(operation, headers=WRONG)
        answer = await http.request(method, path, **more)
        if operation.who is Who.ANYONE:
            assert answer.status_code != 401, operation.name
        else:
            refused = (404, "UserNotFound") if operation.who is Who.SELF else (401, "InvalidAPIKey")
            assert (answer.status_code, answer.json()["rc"]) == refused, operation.name
            assert "No user matching sent API Key." in answer.json()["message"]


async def test_no_key(http: httpx.AsyncClient) -> None:
    for operation in DECLARED:
        method, path, more = _call(operation)
        answer = await http.request(method, path, **more)
        if operation.who in (Who.USER, Who.MODERATOR):
            assert answer.status_code == 400, operation.name
            assert list(answer.json()["errors"]) == ["apikey"]
        elif operation.who in (Who.KNOWN, Who.SELF):
            assert answer.status_code == 401, operation.name
            assert answer.json()["rc"] == "InvalidAPIKey"
        else:
            assert answer.status_code in (200, 201, 404), operation.name


async def _welcome(call: Call) -> object:
    return {"alias": call.caller.alias}


async def test_what_is_for_moderators(horde: Horde, join: Any, calling: Any) -> None:
    operation = Operation(
        name="secret",
        method="GET",
        path="/secret",
        handler=_welcome,
        summary="",
        tag="",
        who=Who.MODERATOR,
    )
    dora, charlie = await join("Dora", moderator=True), await join("Charlie")
    async with calling(create_app(horde, operations=(operation,))) as http:
        assert (await http.get("/secret", headers=dora.headers)).json() == {"alias": dora.alias}
        refused = await http.get("/secret", headers=charlie.headers)
        assert (refused.status_code, refused.json()["rc"]) == (403, "NotModerator")
        assert (await http.get("/secret")).status_code == 400


def test_who_may_is_declared_as_on_the_wire() -> None:
    asked = {operation.name for operation in DECLARED if operation.who is not Who.ANYONE}
    assert asked >= {
        "post_image_async_generate",
        "post_image_job_pop",
        "post_image_job_submit",
        "put_worker_single",
        "delete_worker_single",
        "get_find_user",
    }
    assert not asked & {"get_image_async_check", "get_image_async_status", "get_heartbeat"}
