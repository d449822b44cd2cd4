# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the owner hears when the worker cannot work: what to change, and once."""

import asyncio
from typing import Any

import pytest
from starlette.responses import JSONResponse
from structlog.testing import capture_logs
from worker.fake_horde import FakeHorde, serving

from openhorde.worker.agent import events
from openhorde.worker.agent.presence import Presence
from openhorde.worker.settings import ANONYMOUS_KEY, MISCONFIGURED_STATUS, KindName

ENDS_SECONDS = 60
KINDS: list[KindName] = ["image", "alchemy", "text"]


async def ended(worker: Any) -> int:
    async with asyncio.timeout(ENDS_SECONDS):
        status: int = await worker.task
        return status


@pytest.mark.parametrize("api_key", ["somebody-else", ANONYMOUS_KEY])
async def test_a_key_that_will_not_do_is_told_before_engines_open(
    horde: Any, start_worker: Any, api_key: str
) -> None:
    worker = start_worker(api_key=api_key, kinds=KINDS)
    assert await ended(worker) == MISCONFIGURED_STATUS
    (trouble,) = worker.of(events.Trouble)
    for words in ("api_key", "OPENHORDE_API_KEY", "--api-key", f"{horde.url}/register"):
        assert words in trouble.message
    assert not worker.of(events.EngineChanged)
    assert not horde.pops


@pytest.mark.parametrize(
    ("rc", "status", "settings"),
    [
        ("InvalidAPIKey", 401, ["api_key"] * 3),
        ("AnonForbiddenWorker", 403, ["api_key"] * 3),
        ("DeletedUser", 403, ["api_key"] * 3),
        ("WrongCredentials", 403, ["worker_name", "alchemist_name", "scribe_name"]),
        ("PolymorphicNameConflict", 400, ["worker_name", "alchemist_name", "scribe_name"]),
        ("ProfaneWorkerName", 400, ["worker_name", "alchemist_name", "scribe_name"]),
    ],
)
async def test_what_no_waiting_mends_ends_the_worker(
    horde: Any, start_worker: Any, rc: str, status: int, settings: list[str]
) -> None:
    for kind, setting in zip(KINDS, settings, strict=True):
        answers = horde.answers_of.get(kind, horde.pop_answers)
        answers.append(JSONResponse({"message": "That will not do.", "rc": rc}, status))
        worker = start_worker(kinds=[kind])
        assert await ended(worker) == MISCONFIGURED_STATUS
        (trouble,) = worker.of(events.Trouble)
        assert trouble.message.startswith(f"{setting}: ")
        assert worker.events[-1] == events.Stopped(MISCONFIGURED_STATUS)


async def test_a_worker_that_was_welcome_outlives_a_lapse_of_the_horde(
    horde: Any, start_worker: Any
) -> None:
    worker = start_worker()
    await worker.heard(events.Idle)
    unknown = {"message": "No user matching sent API Key", "rc": "InvalidAPIKey"}
    horde.pop_answers.append(JSONResponse(unknown, 401))
    await worker.heard(events.Trouble)
    idle = len(worker.of(events.Idle))
    await worker.heard(events.Idle, idle + 1)


async def test_a_horde_that_is_away_is_told_once_and_so_is_its_return(start_worker: Any) -> None:
    horde = FakeHorde()
    async with serving(horde):
        port = int(horde.url.rpartition(":")[2])
    with capture_logs() as entries:
        worker = start_worker(horde_url=horde.url, kinds=KINDS)
        for kind in KINDS:
            await worker.until(
                lambda kind=kind: [one.kind for one in worker.of(events.Unanswered)].count(kind) > 2
            )
        (trouble,) = worker.of(events.Trouble)
        assert horde.url in trouble.message
        async with serving(horde, port):
            (back,) = await worker.heard(events.Back)
            assert back.horde_url == horde.url
            await worker.heard(events.Idle, 3)
            assert await worker.drained() == 0
    told = [one["event"] for one in entries if "the horde is" in one["event"]]
    assert told == ["the horde is away; trying again", "the horde is back"]
    assert not [one for one in entries if one["event"] == "no work"]


async def test_one_trouble_is_logged_once_until_it_is_over(horde: Any, start_worker: Any) -> None:
    full = JSONResponse({"message": "The disk is full.", "rc": "Full"}, 503)
    horde.pop_answers.extend([full] * 4)
    with capture_logs() as entries:
        worker = start_worker()
        await worker.heard(events.Idle)
        assert len(worker.of(events.Trouble)) == 4
    said = [
        one["event"] for one in entries if one["event"] in ("no work", "work is asked for again")
    ]
    assert said == ["no work", "work is asked for again"]


def test_absences_are_told_with_their_lengths() -> None:
    told: list[events.Event] = []
    now = 100.0
    presence = Presence("http://horde.test", told.append, lambda: now)
    presence.here()
    assert not told
    presence.away("refused")
    now = 130.0
    presence.away("timed out")
    presence.here()
    presence.here()
    assert [type(one) for one in told] == [events.Trouble, events.Back]
    assert told[-1] == events.Back("http://horde.test", 30.0)
