# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker that is killed before it delivers: its next start delivers, and is paid once."""

import asyncio
import os
import signal
from collections.abc import Iterator

import httpx
import pytest
from acceptance.books import assert_sound, database, unfolded
from processes import RunningServer, data_folder, wait_until

from openhorde.worker.agent.spool import SUFFIX


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with data_folder() as data, RunningServer(data, duty_seconds="0.2") as running:
        yield running


def test_a_result_that_was_made_is_delivered_and_paid_once(server: RunningServer) -> None:
    alice = {"apikey": server.add_user("Alice", kudos=1000)}
    bobs = server.add_user("Bob")
    spool = server.data / "spool"
    options = ("--fake-step-seconds", "0.25", "--spool-folder", str(spool))
    worker = server.worker("machine", bobs, *options)
    with worker:
        params = {"width": 64, "height": 64, "steps": 4}
        asked = httpx.post(
            f"{server.url}/api/v2/generate/async",
            headers=alice,
            json={"prompt": "a red circle", "params": params},
        )
        request_id = asked.json()["id"]
        worker.wait_for_word("popped")
        # From now on the horde hears nothing.
        os.kill(server.process_id, signal.SIGSTOP)
        wait_until(lambda: list(spool.glob(f"*/*{SUFFIX}")), "the result is on disk")
        worker.kill()
        os.kill(server.process_id, signal.SIGCONT)
        worker.start()

        def done() -> bool:
            check = httpx.get(f"{server.url}/api/v2/generate/check/{request_id}", timeout=30)
            return bool(check.json()["done"])

        wait_until(done, "the request is done")
        assert worker.stop() == 0
    assert "a result of an earlier run is delivered" in worker.said()
    assert not list(spool.glob(f"*/*{SUFFIX}"))
    wait_until(lambda: asyncio.run(unfolded(server.data)) == 0, "every transfer is folded")
    bob = httpx.get(f"{server.url}/api/v2/find_user", headers={"apikey": bobs}).json()
    assert bob["records"]["fulfillment"]["image"] == 1
    assert server.stop() == 0
    asyncio.run(books_are_sound(server))


async def books_are_sound(server: RunningServer) -> None:
    async with database(server.data) as (pool, statements):
        await assert_sound(pool, statements)
        assert await pool.fetchval("select count(*) from jobs where state = 'done'") == 1
