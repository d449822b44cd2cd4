# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a requester hears about a webhook: its secret, and how its calls went."""

from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from api.conftest import Join
from cast import Cast, ask, delivery, image_request, picture_text, take

from openhorde.server.actions import webhooks, work
from openhorde.server.actions.horde import Horde
from openhorde.server.kit.fetch import Fetcher
from openhorde.server.tasks import call_webhooks

SUBMIT = "/api/v2/generate/async"
LOG = "/api/v2/generate/webhooks"
AGENT = {"Client-Agent": "test:1:nobody"}


async def test_the_secret_is_told_to_the_requester_alone(
    horde: Horde, http: httpx.AsyncClient, join: Join
) -> None:
    alice = await join("Alice")
    body = msgspec.to_builtins(image_request(webhook="https://hook.example/"))
    answer = await http.post(SUBMIT, json=body, headers=alice.headers | AGENT)
    assert answer.status_code == 202
    request_id = answer.json()["id"]
    secret = answer.json()["webhook_secret"]
    assert secret == webhooks.secret(horde, UUID(request_id))
    for path in ("check", "status", "webhooks"):
        seen = await http.get(f"/api/v2/generate/{path}/{request_id}")
        assert seen.status_code == 200
        assert "secret" not in seen.text
    del body["webhook"]
    answer = await http.post(SUBMIT, json=body, headers=alice.headers | AGENT)
    assert "webhook_secret" not in answer.json()


async def test_the_log_tells_what_became_of_the_calls(
    horde: Horde, http: httpx.AsyncClient, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    # Allowed when it is asked for, and not any more when it is called.
    allowing = replace(horde, webhook_fetcher=Fetcher([ip_network("127.0.0.1/32")]))
    request_id = await ask(allowing, alice, webhook="https://127.0.0.1/")
    assert (await http.get(f"{LOG}/{request_id}")).json() == {"calls": []}
    (job_id,) = await take(horde, bob)
    await work.deliver(horde, bob, delivery(job_id))
    (waiting,) = (await http.get(f"{LOG}/{request_id}")).json()["calls"]
    assert (waiting["job"], waiting["state"], waiting["attempts"]) == (str(job_id), "waiting", 0)
    assert waiting["next_try"] == waiting["created"]
    assert waiting["last_status"] is waiting["last_error"] is waiting["ended"] is None
    await call_webhooks.run(horde)
    # A request is forgotten soon after its end; its log is not.
    await horde.pool.execute("delete from requests")
    (ended,) = (await http.get(f"{LOG}/{request_id}")).json()["calls"]
    assert (ended["id"], ended["state"], ended["attempts"]) == (waiting["id"], "given_up", 1)
    assert ended["next_try"] is None
    assert "not public" in ended["last_error"]
    assert "127.0.0.1" not in ended["last_error"]
    took = datetime.fromisoformat(ended["ended"]) - datetime.fromisoformat(ended["created"])
    assert timedelta() <= took


async def test_unknown_requests_have_no_log(http: httpx.AsyncClient) -> None:
    for name in (str(uuid4()), "nonsense"):
        answer = await http.get(f"{LOG}/{name}")
        assert answer.status_code == 404
        assert answer.json()["rc"] == "RequestNotFound"


@pytest.mark.parametrize("path", ["async", "text/async", "interrogate"])
@pytest.mark.parametrize(
    ("webhook", "why"),
    [
        ("http://hook.example/", "https"),
        ("https://10.0.0.1/hook", "not public"),
        ("https://hook.example:25/", "port 25"),
        ("https://me:secret@hook.example/", "user name or password"),
        ("https://a..b/hook", "no host name"),
    ],
)
async def test_webhooks_that_can_never_be_called_are_refused(
    http: httpx.AsyncClient, path: str, webhook: str, why: str
) -> None:
    body: dict[str, Any] = {"webhook": webhook, "prompt": "x", "models": []}
    where = f"/api/v2/generate/{path}"
    if path == "interrogate":
        body = {"webhook": webhook, "source_image": picture_text(), "forms": [{"name": "nsfw"}]}
        where = "/api/v2/interrogate/async"
    answer = await http.post(where, json=body, headers={"apikey": "0000000000"})
    assert (answer.status_code, answer.json()["rc"]) == (400, "BadRequest"), answer.text
    assert answer.json()["message"].startswith("webhook must be")
    assert why in answer.json()["message"]
