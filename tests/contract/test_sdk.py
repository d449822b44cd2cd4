# SPDX-License-Identifier: AGPL-3.0-or-later
"""The official SDK, strict about every field, with our server and our worker.

It reads its address from the environment when imported, and so runs in processes of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract.wire import Person
from processes import Running, RunningServer, wait_until

PROGRAM = Path(__file__).with_name("sdk_program.py")
SECONDS_MAX = 300
DRAWN_BY_OUR_WORKER = "model of our worker"
DRAWN_BY_HAND = "model of the SDK"


@pytest.fixture(scope="module")
def worker(server: RunningServer, bob: Person) -> Iterator[Running]:
    """Our real worker with the fake engine."""
    running = server.worker("our machine", bob.key, "--models-to-load", DRAWN_BY_OUR_WORKER)
    with running:
        wait_until(lambda: online(server, "our machine"), "the worker is online")
        yield running
        assert running.stop() == 0


def online(server: RunningServer, name: str) -> bool:
    """Whether a worker has checked in."""
    workers = httpx.get(f"{server.url}/api/v2/workers").json()
    return any(each["name"] == name for each in workers)


def play(
    server: RunningServer, act: str, *arguments: str, program: Path = PROGRAM
) -> list[dict[str, Any]]:
    """Have the SDK play an act; what it tells."""
    strict = {"AI_HORDE_URL": f"{server.url}/api/", "TESTS_ONGOING": "1"}
    strict["PYTHONPATH"] = str(PROGRAM.parents[1])
    done = subprocess.run(
        [sys.executable, str(program), act, *arguments],
        env={**os.environ, **strict},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_forms_are_asked_taken_and_handed_in_with_the_sdk(
    server: RunningServer, alice: Person, bob: Person
) -> None:
    # First of all: our own worker, once it is there, would take the forms away.
    waiting, *told, end = play(server, "interrogate", alice.key, bob.key, "")
    assert waiting == {"state": "waiting", "results": [None, None, None]}
    assert sorted((each["form"], each["reward"], each["upload"]) for each in told) == [
        ("RealESRGAN_x4plus", 3, True),
        ("caption", 1, False),
        ("nsfw", 1, False),
    ]
    assert end == {
        "state": "done",
        "captions": ["a red square"],
        "nsfw": [False],
        "complete": True,
    }


@pytest.mark.usefixtures("worker")
def test_the_simple_client_has_pictures_drawn_by_our_worker(
    server: RunningServer, alice: Person
) -> None:
    drawn, priced, alive = play(server, "draw", alice.key, "", DRAWN_BY_OUR_WORKER)
    assert drawn["sizes"] == [[64, 64], [64, 64]]
    assert all(seed.isdigit() for seed in drawn["seeds"])
    assert priced["price"] > 0
    assert alive["heartbeat"] == "OK"


@pytest.mark.usefixtures("worker")
def test_the_asynchronous_client_reads_a_picture_sent_inline(
    server: RunningServer, alice: Person
) -> None:
    (drawn,) = play(server, "draw_asynchronously", alice.key, "", DRAWN_BY_OUR_WORKER)
    assert drawn["size"] == [64, 64]


@pytest.mark.usefixtures("worker")
def test_a_request_is_checked_read_and_cancelled_by_hand(
    server: RunningServer, alice: Person
) -> None:
    cancelled, *answers = play(server, "manage", alice.key, "", DRAWN_BY_HAND)
    assert cancelled == {"waiting": 3, "generations": 0, "cancelled": 3, "done": True}
    assert {each["request"]: each["answer"] for each in answers} == {
        "FindUserRequest": "UserDetailsResponse",
        "HordeStatusModelsAllRequest": "HordeStatusModelsAllResponse",
        "HordePerformanceRequest": "HordePerformanceResponse",
        "AllWorkersDetailsRequest": "AllWorkersDetailsResponse",
    }


def test_a_worker_made_with_the_sdk_pops_uploads_and_submits(
    server: RunningServer, alice: Person, bob: Person
) -> None:
    idle, job, *results, end = play(server, "work", alice.key, bob.key, DRAWN_BY_HAND)
    assert idle == {"idle": None, "ids": []}
    assert (job["ids"], job["uploads"], job["n"]) == (2, 2, 2)
    assert job["ttl"] >= 150
    assert [each["put"] for each in results[::2]] == [200, 200]
    assert all(each["reward"] > 0 for each in results[1::2])
    assert end == {"finished": 2}


@pytest.mark.usefixtures("worker")
def test_every_refusal_is_one_that_the_sdk_reads(
    server: RunningServer, alice: Person, bob: Person
) -> None:
    refusals = play(server, "fail", alice.key, bob.key, DRAWN_BY_HAND)
    assert {each["name"]: each["rc"] for each in refusals} == {
        "key": "UserNotFound",
        "check": "RequestNotFound",
        "status": "RequestNotFound",
        "cancel": "RequestNotFound",
        "job": "InvalidJobID",
        "worker": "WorkerNotFound",
        "owner": "NotOwner",
        "heavy": "KudosUpfront",
        "anonymous": "AnonForbiddenWorker",
        "taken": "WrongCredentials",
    }
    assert all(each["message"] for each in refusals)
