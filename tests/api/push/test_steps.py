# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers that tell how far they are."""

from uuid import uuid4

import httpx
import pytest
from api.conftest import Join
from cast import Cast, ask, take

from openhorde.server.actions import requests
from openhorde.server.actions.horde import Horde
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
