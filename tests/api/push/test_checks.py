# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checks that are held until something has happened."""

import asyncio

import httpx
import pytest
from cast import Cast, ask, delivery, take

from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde


async def _check(
    http: httpx.AsyncClient, request_id: object, **query: str | float
) -> httpx.Response:
    return await http.get(f"/api/v2/generate/check/{request_id}", params=query)


async def _watched(horde: Horde) -> None:
    async with asyncio.timeout(30):
        while not any(each.story for each in horde.watches._watches.values()):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_an_ordinary_check_is_not_held_and_says_no_state(
    horde: Horde, cast: Cast, http: httpx.AsyncClient
) -> None:
    request_id = await ask(horde, await cast.alice())
    answer = await _check(http, request_id)
    assert answer.status_code == 200
    assert "Event-Id" not in answer.headers


async def test_a_held_check_is_answered_when_something_happens(
    horde: Horde, cast: Cast, http: httpx.AsyncClient
) -> None:
    request_id = await ask(horde, await cast.alice())
    plain = await _check(http, request_id)
    first = await _check(http, request_id, wait=0)
    assert first.json() == plain.json()
    assert first.headers["Event-Id"] == "0-0"
    held = asyncio.create_task(_check(http, request_id, wait=60))
    await _watched(horde)
    bob = await cast.bob()
    (job,) = await take(horde, bob)
    started = await held
    assert (started.json()["processing"], started.headers["Event-Id"]) == (1, "1-0")
    held = asyncio.create_task(_check(http, request_id, wait=60, since="1-0"))
    await _watched(horde)
    await work.deliver(horde, bob, delivery(job))
    done = await held
    assert (done.json()["done"], done.headers["Event-Id"]) == (True, "1-1-end")
    assert len(horde.watches) == 0


async def test_what_the_caller_does_not_know_yet_is_answered_at_once(
    horde: Horde, cast: Cast, http: httpx.AsyncClient
) -> None:
    request_id = await ask(horde, await cast.alice())
    await take(horde, await cast.bob())
    answer = await _check(http, request_id, wait=60, since="0-0")
    assert answer.json()["processing"] == 1


async def test_when_time_is_over_the_check_is_answered_as_it_stands(
    horde: Horde, cast: Cast, http: httpx.AsyncClient
) -> None:
    request_id = await ask(horde, await cast.alice())
    answer = await _check(http, request_id, wait=0.05)
    assert (answer.json()["waiting"], answer.headers["Event-Id"]) == (1, "0-0")


async def test_a_request_that_is_done_is_not_waited_for(
    horde: Horde, cast: Cast, http: httpx.AsyncClient
) -> None:
    request_id = await ask(horde, await cast.alice())
    bob = await cast.bob()
    (job,) = await take(horde, bob)
    await work.deliver(horde, bob, delivery(job))
    answer = await _check(http, request_id, wait=60, since="1-1-end")
    assert answer.json()["done"] is True


@pytest.mark.parametrize("wait", ["61", "-1", "soon", "nan"])
async def test_a_wait_out_of_bounds_is_refused_by_name(http: httpx.AsyncClient, wait: str) -> None:
    answer = await _check(http, "x", wait=wait)
    assert answer.status_code == 400
    assert "from 0 to 60" in answer.json()["errors"]["wait"]


async def test_an_unknown_request_is_not_waited_for(http: httpx.AsyncClient) -> None:
    for request_id in ("00000000-0000-0000-0000-000000000000", "x"):
        answer = await _check(http, request_id, wait=60)
        assert (answer.status_code, answer.json()["rc"]) == (404, "RequestNotFound")
