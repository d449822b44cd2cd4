# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pops that hold the line, over HTTP."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from api.conftest import Join, Person
from cast import Cast, ask, image_pop

from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import create_app

PATH = "/api/v2/generate/pop"


async def _held(horde: Horde, count: int = 1) -> None:
    async with asyncio.timeout(30):
        while len(horde.waiters) != count:  # noqa: ASYNC110
            await asyncio.sleep(0)


def _body(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(image_pop(name="Dora's machine"))
    return body | changes


@pytest.fixture
async def dora(join: Join) -> Person:
    """Works."""
    return await join("Dora")


async def test_a_pop_that_waits_is_answered_with_the_job_that_joins(
    horde: Horde, cast: Cast, http: httpx.AsyncClient, dora: Person
) -> None:
    held = asyncio.create_task(http.post(PATH, json=_body(wait=60), headers=dora.headers))
    await _held(horde)
    await ask(horde, await cast.alice())
    answer = (await held).json()
    assert answer["model"] == "stable_diffusion"
    assert answer["r2_upload"]


async def test_a_pop_whose_wait_is_over_says_what_was_skipped(
    horde: Horde, cast: Cast, http: httpx.AsyncClient, dora: Person
) -> None:
    answer = await http.post(PATH, json=_body(wait=0.05), headers=dora.headers)
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["ids"]) == (None, [])


async def test_a_wait_does_not_change_what_the_worker_offers(
    horde: Horde, http: httpx.AsyncClient, dora: Person
) -> None:
    entries = []
    for wait in (0, 0.01, 0.02):
        await http.post(PATH, json=_body(wait=wait), headers=dora.headers)
        entries.append(horde.check_ins.find(dora.id, "Dora's machine"))
    assert entries[0] is entries[1] is entries[2]


@pytest.mark.parametrize("wait", [61, -1, "long"])
async def test_a_wait_out_of_bounds_is_refused_by_name(
    http: httpx.AsyncClient, dora: Person, wait: object
) -> None:
    answer = await http.post(PATH, json=_body(wait=wait), headers=dora.headers)
    assert answer.status_code == 400
    assert "from 0 to 60" in answer.json()["errors"]["wait"]


async def test_a_worker_that_hangs_up_leaves_the_line(
    horde: Horde, cast: Cast, dora: Person
) -> None:
    gone = asyncio.Event()
    body = msgspec.json.encode(_body(wait=60))
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        return

    scope = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "query_string": b"",
        "headers": [(b"apikey", dora.key.encode())],
        "client": ("127.0.0.1", 1234),
        "scheme": "http",
        "server": ("horde.test", 80),
    }
    call = asyncio.create_task(create_app(horde)(scope, receive, send))
    await _held(horde)
    gone.set()
    await _held(horde, 0)
    await ask(horde, await cast.alice())
    await call
    assert await horde.pool.fetchval("select state from jobs") == "waiting"
