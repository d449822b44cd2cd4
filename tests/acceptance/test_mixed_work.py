# SPDX-License-Identifier: AGPL-3.0-or-later
"""One worker does all kinds of work at once, is killed again and again, and nothing is lost."""

import asyncio
import base64
import os
import signal
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from acceptance.crowd import eventually
from PIL import Image
from processes import Running, RunningServer, data_folder

REQUESTS = 500
ASKING_AT_ONCE = 8
KILLS = ("engine", "worker", "engine", "engine", "worker", "engine")
DELIVERIES_BETWEEN = 40
WORK_SECONDS_MAX = 240
OPTIONS = ("--max-threads", "2", "--queue-size", "2", "--pop-wait-seconds", "2")
SETTINGS = {
    "duty_seconds": "0.2",
    # A killed worker's jobs are soon given out again; one that is slow keeps its own.
    "job_ttl_seconds_min": "20",
}
FORMS = ("caption", "nsfw", "interrogation", "RealESRGAN_x2plus")
STATUS = {
    "image": "/generate/status/",
    "alchemy": "/interrogate/status/",
    "text": "/generate/text/status/",
}


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """A server that soon notices lost jobs."""
    with data_folder() as data, RunningServer(data, **SETTINGS) as running:
        yield running


async def test_nothing_is_lost_when_engines_and_worker_are_killed(server: RunningServer) -> None:
    payers = [server.add_user(f"Payer{number}", kudos=1_000_000) for number in range(8)]
    machine = server.worker("machine", server.add_user("Bob"), *OPTIONS)
    random = Random(4)
    async with httpx.AsyncClient(base_url=f"{server.url}/api/v2", timeout=60) as client:
        with machine:
            asking = asyncio.create_task(ask_all(client, payers))
            for number, victim in enumerate(KILLS, start=1):
                await delivered(machine, number * DELIVERIES_BETWEEN)
                await strike(machine, victim, random)
            asked = await asking
            try:
                answers = await all_done(client, asked)
            except AssertionError as error:
                workers = (await client.get("/workers")).text
                error.add_note(f"the workers: {workers}\ntheir log: {machine.said()[-3000:]}")
                raise
            assert await asyncio.to_thread(machine.stop) == 0
    assert len(answers) == REQUESTS
    for kind, answer in answers:
        assert_well(kind, answer)


async def ask_all(client: httpx.AsyncClient, keys: list[str]) -> list[tuple[str, str]]:
    """Ask for everything, as fast as the horde lets these users; kinds and ids."""
    places = asyncio.Semaphore(ASKING_AT_ONCE)

    async def ask(number: int) -> tuple[str, str]:
        kind, path, body = request(number)
        async with places:
            while True:
                headers = {"apikey": keys[number % len(keys)]}
                answer = await client.post(path, json=body, headers=headers)
                if answer.status_code == 202:
                    return kind, str(answer.json()["id"])
                # So many may wait at once for one user.
                assert answer.status_code == 429, answer.text
                await asyncio.sleep(0.2)

    return list(await asyncio.gather(*(ask(number) for number in range(REQUESTS))))


def request(number: int) -> tuple[str, str, dict[str, Any]]:
    """What is asked for, in turn: a picture, a form or two, a text."""
    if number % 3 == 0:
        params = {"width": 64, "height": 64, "steps": 2, "sampler_name": "k_euler"}
        return "image", "/generate/async", {"prompt": f"a circle {number}", "params": params}
    if number % 3 == 1:
        buffer = BytesIO()
        Image.new("RGB", (16, 16), (number % 256, 0, 0)).save(buffer, "WEBP")
        first = number // 3
        names = {FORMS[first % len(FORMS)], FORMS[first // 2 % len(FORMS)]}
        source = base64.b64encode(buffer.getvalue()).decode()
        forms = [{"name": name} for name in sorted(names)]
        return "alchemy", "/interrogate/async", {"source_image": source, "forms": forms}
    params = {"max_length": 16, "max_context_length": 128}
    return "text", "/generate/text/async", {"prompt": f"Once {number}", "params": params}


async def strike(machine: Running, victim: str, random: Random) -> None:
    """Kill an engine, which the worker brings back, or the worker, which we start again."""
    if victim == "worker":
        machine.kill()
        machine.start()
        return
    await eventually(lambda: bool(engines_of(machine)), "engines run")
    os.kill(random.choice(engines_of(machine)), signal.SIGKILL)


async def all_done(
    client: httpx.AsyncClient, asked: list[tuple[str, str]]
) -> list[tuple[str, dict[str, Any]]]:
    """The answers to all requests, once each has come to its end."""
    answers: dict[str, tuple[str, dict[str, Any]]] = {}

    async def look() -> bool:
        for kind, request_id in asked:
            if request_id not in answers:
                answer = (await client.get(STATUS[kind] + request_id)).raise_for_status().json()
                if not is_over(kind, answer):
                    return False
                answers[request_id] = (kind, answer)
        return True

    await eventually(look, "all requests come to their end", WORK_SECONDS_MAX)
    return list(answers.values())


def is_over(kind: str, answer: dict[str, Any]) -> bool:
    if kind == "alchemy":
        return answer["state"] not in ("waiting", "processing", "partial")
    return bool(answer["done"] or answer["faulted"])


def assert_well(kind: str, answer: dict[str, Any]) -> None:
    """Everything that was asked for is there, in its shape."""
    if kind == "alchemy":
        assert answer["state"] == "done", answer
        for form in answer["forms"]:
            assert form["state"] == "done", form
            value = form["result"][form["form"]]
            wanted: dict[str, type] = {"nsfw": bool, "interrogation": dict}
            assert isinstance(value, wanted.get(form["form"], str)), form
        return
    assert not answer["faulted"], answer
    (generation,) = answer["generations"]
    assert generation["img" if kind == "image" else "text"], generation


async def delivered(machine: Running, goal: int) -> None:
    """Wait until the worker says that the horde has taken so many results."""
    await eventually(
        lambda: machine.said().count(" delivered ") >= goal, f"{goal} results are delivered"
    )


def engines_of(machine: Running) -> list[int]:
    """The engine processes of a worker."""
    found = []
    for thread in Path(f"/proc/{machine.process_id}/task").glob("*/children"):
        for child in thread.read_text().split():
            words = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"openhorde.worker.backends.child" in words:
                found.append(int(child))
    return found
