# SPDX-License-Identifier: AGPL-3.0-or-later
"""Forms of alchemy survive whatever is killed, and each is paid once what it is worth."""

import asyncio
import base64
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from acceptance.books import assert_sound, database, kill_postgres, unfolded
from cast import picture_text
from PIL import Image
from processes import RunningServer, data_folder, run_horde, wait_until

RESULTS: dict[str, Any] = {
    "caption": "a red square",
    "nsfw": False,
    "interrogation": {"tags": [{"text": "red", "confidence": 0.5}]},
    "GFPGAN": picture_text(),
}
WORTH = {"caption": 1, "nsfw": 1, "interrogation": 3, "GFPGAN": 12}
REQUESTS = 9


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """A server."""
    with data_folder() as data, RunningServer(data, duty_seconds="0.2") as running:
        yield running


def picture() -> str:
    """Four tiles."""
    file = BytesIO()
    Image.new("RGB", (600, 600), "red").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


class Alchemist:
    """Takes forms and hands them in again and again until there is an answer."""

    def __init__(self, server: RunningServer, key: str) -> None:
        self.server = server
        self.headers = {"apikey": key}
        self.hand: list[dict[str, Any]] = []
        self.earned: dict[str, float] = {}

    def call(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """What the horde says, as soon as it says anything."""
        answers: list[httpx.Response] = []

        def heard() -> bool:
            url = f"{self.server.url}/api/v2/interrogate/{path}"
            try:
                answer = httpx.post(url, headers=self.headers, json=body, timeout=30)
            except httpx.HTTPError:
                return False
            answers.append(answer)
            return answer.status_code < 500

        wait_until(heard, f"{path} is answered")
        return answers[-1]

    def take(self, amount: int) -> None:
        """Fill the hand."""
        body = {"name": "alchemist", "forms": list(RESULTS), "amount": amount}
        answer = self.call("pop", body)
        assert answer.status_code == 200, answer.text
        self.hand += answer.json()["forms"] or []

    def deliver(self) -> None:
        """Empty the hand. Each form is handed in twice, as if the first answer had been lost."""
        while self.hand:
            form = self.hand.pop()
            body = {"id": form["id"], "result": {form["form"]: RESULTS[form["form"]]}}
            answer, again = self.call("submit", body), self.call("submit", body)
            assert answer.status_code == 200, answer.text
            self.earned[form["id"]] = answer.json()["reward"]
            assert again.json()["rc"] == "DuplicateGen"


def test_forms_are_done_and_paid_once_when_everything_is_killed(server: RunningServer) -> None:
    payer, bob = server.add_user("Payer", kudos=10_000), server.add_user("Bob")
    asked = [ask(server, payer) for _ in range(REQUESTS)]
    alchemist = Alchemist(server, bob)

    def kill_server() -> None:
        server.kill()
        server.start()

    def kill_database() -> None:
        kill_postgres(server.data)

    outages: list[Callable[[], None]] = [kill_server, kill_database, kill_server]
    for outage in outages:
        alchemist.take(7)
        outage()
        alchemist.deliver()
    while not all(state(server, request_id) == "done" for request_id in asked):
        alchemist.take(20)
        alchemist.deliver()
    assert sum(alchemist.earned.values()) == REQUESTS * sum(WORTH.values())
    wait_until(lambda: asyncio.run(unfolded(server.data)) == 0, "every transfer is folded")
    assert "the ledger is sound" in run_horde("ledger", "verify", "--data", str(server.data))
    account = httpx.get(f"{server.url}/api/v2/find_user", headers={"apikey": payer}).json()
    assert account["kudos"] == 10_000 - REQUESTS * (sum(WORTH.values()) + len(WORTH))
    assert account["active_generations"]["alchemy"] == []
    assert server.stop() == 0
    asyncio.run(assert_all_paid(server.data))


def ask(server: RunningServer, key: str) -> str:
    """A request for all forms."""
    answer = httpx.post(
        f"{server.url}/api/v2/interrogate/async",
        headers={"apikey": key},
        json={"source_image": picture(), "forms": [{"name": name} for name in RESULTS]},
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["kudos"] == sum(WORTH.values()) + len(WORTH)
    return str(answer.json()["id"])


def state(server: RunningServer, request_id: str) -> str:
    """How far a request is."""
    answer = httpx.get(f"{server.url}/api/v2/interrogate/status/{request_id}", timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["state"])


async def assert_all_paid(data: Path) -> None:
    """Every form was done and paid once, and the books agree."""
    async with database(data) as (pool, statements):
        await assert_sound(pool, statements)
        jobs = await pool.fetch("select state, count(*) as jobs from jobs group by state")
        assert {row["state"]: row["jobs"] for row in jobs} == {"done": REQUESTS * len(RESULTS)}
