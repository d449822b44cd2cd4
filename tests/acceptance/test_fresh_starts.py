# SPDX-License-Identifier: AGPL-3.0-or-later
"""On a fresh server of several processes no worker hears "nothing" while its job waits."""

import asyncio
from contextlib import AsyncExitStack

import asyncpg
import httpx
import pytest
from processes import RunningServer, data_folder

WORKERS = 16
ROUNDS = 3


class Horde:
    """A server, and callers that each have a connection of their own: so all processes meet all
    workers and all requests."""

    def __init__(self, url: str, key: str, stack: AsyncExitStack) -> None:
        self._url = f"{url}/api/v2/generate"
        self._headers = {"apikey": key}
        self._stack = stack

    async def caller(self) -> httpx.AsyncClient:
        """Somebody who has just come."""
        client = httpx.AsyncClient(headers=self._headers, timeout=60)
        return await self._stack.enter_async_context(client)

    async def ask(self, caller: httpx.AsyncClient, model: str) -> None:
        """A request for one model is accepted."""
        body = {
            "prompt": "a red circle",
            "models": [model],
            "params": {"width": 64, "height": 64, "steps": 1},
        }
        answer = await caller.post(f"{self._url}/async", json=body)
        assert answer.status_code == 202, answer.text

    async def pop(self, caller: httpx.AsyncClient, model: str) -> str | None:
        """The job that a worker of one model gets at once."""
        body = {
            "name": f"worker of {model.partition(' of ')[0]}",
            "models": [model],
            "bridge_agent": "AI Horde Worker reGen:13.0.0:https://example.org",
        }
        answer = await caller.post(f"{self._url}/pop", json=body)
        assert answer.status_code == 200, answer.text
        found: str | None = answer.json()["id"]
        return found


async def trusted_key(url: str, database: str) -> str:
    """The key of a new account that may have many workers."""
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(f"{url}/api/register", json={"username": "Bob"})
    assert answer.status_code < 300, answer.text
    connection = await asyncpg.connect(database)
    await connection.execute("update users set roles = '{trusted}', concurrency = 1000")
    await connection.close()
    return str(answer.json()["api_key"])


@pytest.mark.parametrize("start", [1, 2])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
async def test_every_worker_gets_its_job_at_its_first_pop(
    horde_database: str, processes: int, start: int
) -> None:
    async with AsyncExitStack() as stack:
        data = stack.enter_context(data_folder())
        server = RunningServer(data, processes=str(processes), database_url=horde_database)
        await asyncio.to_thread(stack.enter_context, server)
        key = await trusted_key(server.url, horde_database)
        horde = Horde(server.url, key, stack)
        callers = [await horde.caller() for _ in range(2 * WORKERS)]
        for number in range(ROUNDS):
            models = [f"model {place} of round {number}" for place in range(WORKERS)]
            asking = list(zip(callers[:WORKERS], models, strict=True))
            working = list(zip(callers[WORKERS:], models, strict=True))
            # All processes have just read the whole queue, and have no reason to do so again.
            assert not any(await asyncio.gather(*(horde.pop(*each) for each in working)))
            # Whoever asked has an answer: from then on the job is there for all processes.
            await asyncio.gather(*(horde.ask(*each) for each in asking))
            jobs = await asyncio.gather(*(horde.pop(*each) for each in working))
            heard_nothing = [model for model, job in zip(models, jobs, strict=True) if job is None]
            assert not heard_nothing
