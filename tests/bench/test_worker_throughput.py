# SPDX-License-Identifier: AGPL-3.0-or-later
"""Short jobs: more of them are queued than one user may have waiting."""

import asyncio

import httpx
from processes import RunningServer, data_folder

from bench.worker_throughput import WAITING_MAX, Askers

JOBS = 2 * WAITING_MAX + 100


def test_as_many_users_ask_as_it_takes() -> None:
    with data_folder() as data, RunningServer(data) as server:
        asyncio.run(Askers(server.url, data).ask("text", JOBS))
        users = httpx.get(f"{server.url}/api/v2/users", params={"sort": "age"}).json()
        assert server.stop() == 0
    # The first of them is anonymous.
    assert sum(one["username"].startswith("Alice") for one in users) == 2
