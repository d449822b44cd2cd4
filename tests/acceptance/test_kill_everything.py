# SPDX-License-Identifier: AGPL-3.0-or-later
"""Twenty times SIGKILL under full load, whichever process it hits: what was promised is kept."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest
from acceptance.books import assert_sound, database, kill_postgres, postmaster, unfolded
from acceptance.crowd import Crowd, eventually
from processes import Running, RunningServer, data_folder, run_horde, wait_until

from openhorde.cli.serve import SERVE_PLACE

SEEDS = range(20)
VICTIMS = ("process", "server", "postmaster", "backend", "worker")
DELIVERIES_BETWEEN = (1, 60)
"""So many jobs are delivered before the next kill: it comes at any moment of the work."""

STREAMING, POLLING, SCRIPTED_WORKERS = 12, 4, 4
PICTURES_FETCHED = 20
KUDOS = 1_000_000
WORKER_OPTIONS = ("--fake-step-seconds", "0.02", "--max-threads", "1")
SETTINGS = {
    "processes": "2",
    "duty_seconds": "0.2",
    # A killed worker's jobs are soon somebody else's.
    "job_ttl_seconds_min": "4",
}


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """A server of two processes that soon notices lost jobs."""
    with data_folder() as data, RunningServer(data, **SETTINGS) as running:
        yield running


async def test_what_was_promised_is_kept_whatever_is_killed(server: RunningServer) -> None:
    payers = [server.add_user(f"Payer{number}", kudos=KUDOS) for number in range(4)]
    bobs = server.add_user("Bob")
    machines = [server.worker(f"machine {n}", bobs, *WORKER_OPTIONS) for n in ("one", "two")]
    crowd = Crowd(server.url, Random(SEEDS.start))
    with machines[0], machines[1]:
        async with asyncio.TaskGroup() as group:
            askers = [
                group.create_task(
                    crowd.ask(payers[number % len(payers)], by_stream=number < STREAMING)
                )
                for number in range(STREAMING + POLLING)
            ]
            for number in range(SCRIPTED_WORKERS):
                # Half of them wait on the line, half ask again and again.
                wait_seconds = 5.0 * (number % 2)
                group.create_task(crowd.work(bobs, f"script {number}", wait_seconds))
            killed = Counter([await strike(seed, server, machines, crowd) for seed in SEEDS])
            crowd.asking = False
            await asyncio.wait(askers)
            await eventually(lambda: all_idle(crowd, payers), "nothing waits and nothing runs")
            crowd.working = False
        print(f"killed {dict(killed)}; {len(crowd.accepted)} requests, {dict(crowd.troubles)}")
        assert await asyncio.to_thread(machines[0].stop) == 0
        assert await asyncio.to_thread(machines[1].stop) == 0
    async with crowd.client() as client:
        statuses = {each: await status(client, each) for each in crowd.accepted}
        await assert_pictures_there(client, statuses)
    await asyncio.to_thread(settled, server)
    assert "the ledger is sound" in run_horde("ledger", "verify", "--data", str(server.data))
    assert await asyncio.to_thread(server.stop) == 0
    await assert_kept(server.data, crowd)
    assert_streams_told_all(crowd, statuses)
    # Each sort of process was hit, and whoever met the outage was told of it as such.
    assert min(killed[victim] for victim in VICTIMS) > 0
    assert not [trouble for trouble in crowd.troubles if trouble.endswith(": 500")]


async def strike(seed: int, server: RunningServer, machines: list[Running], crowd: Crowd) -> str:
    """Let some jobs be delivered, then kill a process, and start it again if nobody else does;
    what sort it was."""
    random = Random(seed)
    victim = random.choice(VICTIMS)
    goal = len(crowd.delivered) + random.randint(*DELIVERIES_BETWEEN)
    try:
        await eventually(lambda: len(crowd.delivered) >= goal, f"work goes on, kill {seed}")
    except AssertionError as error:
        error.add_note(f"the crowd's troubles: {crowd.troubles}\nthe server: {tail(server)}")
        raise
    if victim == "process":
        await eventually(lambda: bool(processes_of(server)), "the server has processes")
        kill(random.choice(processes_of(server)))
    elif victim == "server":
        server.kill()
        await asyncio.to_thread(server.start)
    elif victim == "postmaster":
        await eventually(lambda: lives(postmaster(server.data)), "the database runs")
        kill_postgres(server.data)
    elif victim == "backend":
        await eventually(lambda: bool(backends_of(server)), "the database has connections")
        kill(random.choice(backends_of(server)))
    else:
        machine = random.choice(machines)
        machine.kill()
        machine.start()
    return victim


def processes_of(server: RunningServer) -> list[int]:
    """The processes that answer calls."""
    return [child for child in children_of(server.process_id) if SERVE_PLACE in command_line(child)]


def backends_of(server: RunningServer) -> list[int]:
    """The database's processes that serve connections."""
    return [
        child for child in children_of(postmaster(server.data)) if "[local]" in command_line(child)
    ]


def children_of(process_id: int) -> list[int]:
    """Living children of a process."""
    try:
        threads = list(Path(f"/proc/{process_id}/task").iterdir())
        return [int(word) for t in threads for word in (t / "children").read_text().split()]
    except OSError:
        return []


def command_line(process_id: int) -> str:
    """What a process was started as; empty when it is gone."""
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def lives(process_id: int) -> bool:
    """Is there such a process of PostgreSQL?"""
    return process_id > 0 and "postgres" in command_line(process_id)


def kill(process_id: int) -> None:
    """SIGKILL, which it may have escaped by ending just now."""
    with suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGKILL)


def tail(server: RunningServer) -> str:
    """The end of what the server has said."""
    return server.said()[-6000:]


async def all_idle(crowd: Crowd, keys: list[str]) -> bool:
    """Has nobody a request that is not at its end, acknowledged or not?"""
    async with crowd.client() as client:
        for key in keys:
            answer = await client.get("find_user", headers={"apikey": key})
            assert answer.status_code == 200, answer.text
            if answer.json()["active_generations"]["image"]:
                return False
    return True


async def status(client: httpx.AsyncClient, request_id: str) -> dict[str, Any]:
    """How a request stands at the end: it is known, and over."""
    answer = await client.get(f"generate/status/{request_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["done"] or found["faulted"], found
    return found


async def assert_pictures_there(
    client: httpx.AsyncClient, statuses: dict[str, dict[str, Any]]
) -> None:
    """Pictures can be fetched: those of the first requests and of the last."""
    every = [generation for found in statuses.values() for generation in found["generations"]]
    for generation in every[:PICTURES_FETCHED] + every[-PICTURES_FETCHED:]:
        picture = await client.get(generation["img"])
        assert picture.status_code == 200, picture.text
        assert picture.content[8:12] == b"WEBP"


def settled(server: RunningServer) -> None:
    """Wait until every booking is folded."""
    wait_until(lambda: asyncio.run(unfolded(server.data)) == 0, "every booking is folded")


async def assert_kept(data: Path, crowd: Crowd) -> None:
    """No request lost, no job done or paid twice, no acknowledged delivery gone."""
    async with database(data) as (pool, statements):
        await assert_sound(pool, statements)
        requests = {row["id"]: row for row in await pool.fetch("select * from requests")}
        done: dict[UUID, list[int]] = {request_id: [] for request_id in requests}
        for job in await pool.fetch("select * from jobs"):
            assert job["state"] in ("done", "faulted", "cancelled"), job
            if job["state"] == "done":
                done[job["request_id"]].append(job["ordinal"])
        for request_id, count in crowd.accepted.items():
            request = requests[UUID(request_id)]
            assert request["asked"] == count
            assert request["state"] == "faulted" or len(done[request["id"]]) == count
        faulted = [request for request in requests.values() if request["state"] == "faulted"]
        # Only three failures of a request may end it so.
        assert len(faulted) < len(requests) / 4
        assert all(len(set(ordinals)) == len(ordinals) for ordinals in done.values())
        results = {
            str(row["id"]): row["result"]
            for row in await pool.fetch("select id, result from jobs where state = 'done'")
        }
        for job_id, seed in crowd.delivered.items():
            assert seed_of(results[job_id]) == seed


def seed_of(result: Any) -> int:
    """The seed of a stored result."""
    value = json.loads(result) if isinstance(result, str) else result
    return int(value["seed"])


def assert_streams_told_all(crowd: Crowd, statuses: dict[str, dict[str, Any]]) -> None:
    """Every stream that was followed told of each picture once."""
    assert crowd.resumed > 0
    for request_id, seen in crowd.seen.items():
        generations = [generation["id"] for generation in statuses[request_id]["generations"]]
        assert sorted(seen) == sorted(generations)
