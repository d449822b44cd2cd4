# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever is killed, whenever: every job is delivered and paid once, and the ledger is sound."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from acceptance.books import assert_sound, database, kill_postgres, unfolded
from processes import RunningServer, data_folder, wait_until

REQUESTERS = 4
PICTURES_OF_REQUESTS = (1, 5, 1, 8, 3, 2)
JOBS = REQUESTERS * sum(PICTURES_OF_REQUESTS)
KUDOS = 10_000
WORKER_OPTIONS = ("--fake-step-seconds", "0.25", "--max-threads", "2")


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """A server that soon notices lost jobs."""
    settings = {"duty_seconds": "0.2", "job_ttl_seconds_min": "2"}
    with data_folder() as data, RunningServer(data, **settings) as running:
        yield running


def test_nothing_is_lost_or_paid_twice_when_everything_is_killed(server: RunningServer) -> None:
    keys = [server.add_user(f"Payer{number}", kudos=KUDOS) for number in range(REQUESTERS)]
    bobs = server.add_user("Bob")
    asked = [submit(server, key, n) for key in keys for n in PICTURES_OF_REQUESTS]
    one = server.worker("machine one", bobs, *WORKER_OPTIONS)
    two = server.worker("machine two", bobs, *WORKER_OPTIONS)
    with one, two:
        in_the_middle(server, after=12)
        server.kill()
        server.start()
        in_the_middle(server, after=30)
        one.kill()
        one.start()
        in_the_middle(server, after=48)
        kill_postgres(server.data)
        wait_until(server.answers, "the server finds its database again")
        wait_until(lambda: all_done(server, asked), "every request is done")
        assert one.stop() == 0
        assert two.stop() == 0
    for request_id, n in asked:
        assert_delivered(server, request_id, n)
    for key in keys:
        account = httpx.get(f"{server.url}/api/v2/find_user", headers={"apikey": key}).json()
        assert account["active_generations"]["image"] == []
    wait_until(lambda: asyncio.run(unfolded(server.data)) == 0, "every transfer is folded")
    assert server.stop() == 0
    asyncio.run(assert_all_paid(server.data))


def submit(server: RunningServer, key: str, n: int) -> tuple[str, int]:
    """Ask for n pictures: the request's id, and n."""
    params = {"width": 64, "height": 64, "steps": 4, "n": n}
    answer = httpx.post(
        f"{server.url}/api/v2/generate/async",
        headers={"apikey": key},
        json={"prompt": "a red circle", "params": params},
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["id"], n


def in_the_middle(server: RunningServer, after: int) -> None:
    """Wait until so many pictures are finished; some must be left."""

    def finished() -> int:
        workers = httpx.get(f"{server.url}/api/v2/workers", timeout=30).json()
        return sum(worker["requests_fulfilled"] for worker in workers)

    wait_until(lambda: finished() >= after, f"{after} pictures are finished")
    assert finished() < JOBS


def all_done(server: RunningServer, asked: list[tuple[str, int]]) -> bool:
    """Whether every request is done."""
    return all(check(server, request_id)["done"] for request_id, _ in asked)


def check(server: RunningServer, request_id: str) -> dict[str, Any]:
    """How far a request is: always answered."""
    answer = httpx.get(f"{server.url}/api/v2/generate/check/{request_id}", timeout=30)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def assert_delivered(server: RunningServer, request_id: str, n: int) -> None:
    """Every picture of a request is there, once, and can be fetched."""
    answer = httpx.get(f"{server.url}/api/v2/generate/status/{request_id}", timeout=30).json()
    assert (answer["finished"], answer["waiting"], answer["processing"]) == (n, 0, 0)
    assert not answer["faulted"]
    assert len({generation["id"] for generation in answer["generations"]}) == n
    for generation in answer["generations"]:
        picture = httpx.get(generation["img"])
        assert picture.status_code == 200
        assert picture.content[8:12] == b"WEBP"


async def assert_all_paid(data: Path) -> None:
    """Every picture is delivered and paid once, and the books agree."""
    async with database(data) as (pool, statements):
        await assert_sound(pool, statements)
        jobs = await pool.fetch("select state, count(*) as jobs from jobs group by state")
        states = {row["state"]: row["jobs"] for row in jobs}
        assert states.pop("done") == JOBS
        assert states.keys() <= {"faulted"}
