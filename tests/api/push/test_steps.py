# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers that tell how far they are."""

from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import msgspec
import pytest
from api.conftest import Join
from cast import Cast, alchemy_pop, ask, ask_forms, image_pop, take

from openhorde.server.actions import requests
from openhorde.server.actions.horde import Horde
from openhorde.server.domain.lives import LIVES_MAX
from openhorde.server.store import events
from openhorde.server.store.signals import Stepped
from openhorde.server.store.users import Account

PATH = "/api/v2/generate/progress"


@pytest.fixture
async def dora(join: Join, horde: Horde) -> tuple[Account, dict[str, str]]:
    """A worker's owner with the headers of her calls."""
    person = await join("Dora")
    account = await horde.accounts.by_key(person.key)
    assert account is not None
    return account, person.headers


async def test_a_report_is_passed_on_and_asks_the_database_once(
    horde: Horde,
    cast: Cast,
    http: httpx.AsyncClient,
    dora: tuple[Account, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account, headers = dora
    request_id = await ask(horde, await cast.alice())
    (job,) = await take(horde, account, name="Dora's machine")
    heard: list[Stepped] = []
    horde.signals.listen(Stepped, heard.append)
    for step in range(3):
        answer = await http.post(
            PATH, json={"id": str(job), "step": step, "steps": 4}, headers=headers
        )
        assert answer.status_code == 200
        assert answer.json().keys() == {"cancelled", "ttl"}
        assert not answer.json()["cancelled"]
        assert 0 < answer.json()["ttl"] <= horde.settings.job_ttl_seconds_min
        monkeypatch.setattr(events, "job_watched", None)
    assert heard == [Stepped(request_id, job, step, 4) for step in range(3)]


async def test_a_worker_hears_of_the_cancellation_of_its_job(
    horde: Horde, cast: Cast, http: httpx.AsyncClient, dora: tuple[Account, dict[str, str]]
) -> None:
    account, headers = dora
    request_id = await ask(horde, await cast.alice())
    (job,) = await take(horde, account, name="Dora's machine")
    body = {"id": str(job), "step": 1, "steps": 4}
    assert not (await http.post(PATH, json=body, headers=headers)).json()["cancelled"]
    await requests.cancel(horde, request_id)
    assert (await http.post(PATH, json=body, headers=headers)).json() == {
        "cancelled": True,
        "ttl": 0,
    }


async def test_only_the_jobs_own_worker_may_report(
    horde: Horde, cast: Cast, http: httpx.AsyncClient, dora: tuple[Account, dict[str, str]]
) -> None:
    await ask(horde, await cast.alice())
    (job,) = await take(horde, await cast.bob())
    answer = await http.post(PATH, json={"id": str(job), "step": 1, "steps": 4}, headers=dora[1])
    assert (answer.status_code, answer.json()["rc"]) == (403, "WrongCredentials")


@pytest.mark.parametrize("job", [str(uuid4()), "x"])
async def test_a_job_that_is_not_there_is_refused(
    http: httpx.AsyncClient, dora: tuple[Account, dict[str, str]], job: str
) -> None:
    answer = await http.post(PATH, json={"id": job, "step": 1, "steps": 4}, headers=dora[1])
    assert (answer.status_code, answer.json()["rc"]) == (404, "InvalidJobID")


@pytest.mark.parametrize(
    ("step", "steps_", "field"), [(5, 4, "step"), (-1, 4, "step"), (0, 0, "steps")]
)
async def test_steps_out_of_bounds_are_refused_by_name(
    http: httpx.AsyncClient,
    dora: tuple[Account, dict[str, str]],
    step: int,
    steps_: int,
    field: str,
) -> None:
    answer = await http.post(
        PATH, json={"id": str(uuid4()), "step": step, "steps": steps_}, headers=dora[1]
    )
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]


def _expires(url: str) -> int:
    return int(parse_qs(urlsplit(url).query)["expires"][0])


@pytest.mark.parametrize("kind", ["image", "alchemy"])
async def test_links_outlive_the_job_however_long_it_is_put_off(
    horde: Horde,
    cast: Cast,
    http: httpx.AsyncClient,
    dora: tuple[Account, dict[str, str]],
    kind: str,
) -> None:
    alice, (_, headers) = await cast.alice(), dora
    if kind == "image":
        await ask(horde, alice)
        path, pop = "/api/v2/generate/pop", msgspec.to_builtins(image_pop())
    else:
        await ask_forms(horde, alice, "GFPGAN")
        path, pop = "/api/v2/interrogate/pop", msgspec.to_builtins(alchemy_pop("GFPGAN"))
    await horde.pool.execute("update requests set ttl_seconds = 5000")
    answer: dict[str, Any] = (await http.post(path, json=pop, headers=headers)).json()
    job = answer if kind == "image" else answer["forms"][0]
    last_seconds = await horde.pool.fetchval(
        "select extract(epoch from popped_at) from jobs where id = $1::text::uuid", job["id"]
    )
    assert job["ttl"] == 5000
    assert _expires(job["r2_upload"]) + 1 >= last_seconds + LIVES_MAX * 5000
