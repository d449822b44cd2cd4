# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde serve --processes 2`, and two servers on one database: whole, whatever dies."""

import fcntl
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from processes import Running, RunningServer, data_folder, run_horde, wait_until

SERVED = re.compile(r"Started server process \[(\d+)\].*process=(\d+)")
LEADING = re.compile(r"leading .*process=(\d+)")
CALLS = 12


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """Two processes with a database of their own."""
    with data_folder() as data, RunningServer(data, processes="2") as running:
        running.wait_for_word("serving")
        yield running


def node(server: RunningServer) -> str:
    """Which process answers a caller that has just come."""
    answer = httpx.get(f"{server.url}/api/v2/status/heartbeat", timeout=30)
    assert answer.status_code == 200
    return answer.headers["horde-node"].rpartition(":")[2]


def both_answer(server: RunningServer) -> bool:
    """Whether two callers meet two processes."""
    return {node(server), node(server)} == {"1", "2"}


def processes(server: RunningServer) -> dict[str, int]:
    """The last known process id of each process."""
    return {number: int(process) for process, number in SERVED.findall(server.said())}


def leaders(server: RunningServer) -> list[str]:
    """Who has led, one after another."""
    return LEADING.findall(server.said())


def is_alive(process: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text() if _has_proc() else True


def _has_proc() -> bool:
    return Path("/proc/self/status").exists()


def database_runs(data: Path) -> bool:
    """Whether a process of the embedded PostgreSQL is left: each holds this lock."""
    with (data / "postgres" / "server.lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_killed_process_comes_back_and_its_duties_move(server: RunningServer) -> None:
    assert server.said().count(" serving ") == 1
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(timeout=30)) for _ in range(CALLS)]
        for _ in range(2):  # The second call of a connection is answered where the first was.
            answers = [each.get(f"{server.url}/api/v2/status/heartbeat") for each in clients]
            seen = Counter(answer.headers["horde-node"].rpartition(":")[2] for answer in answers)
            assert seen == {"1": CALLS / 2, "2": CALLS / 2}
    wait_until(lambda: leaders(server), "one leads")
    first = processes(server)
    (leader,) = leaders(server)
    other = {"1": "2", "2": "1"}[leader]
    os.kill(first[leader], signal.SIGKILL)
    # Whoever comes is answered meanwhile, by the one that is left.
    wait_until(lambda: not is_alive(first[leader]), "the leader is gone")
    wait_until(lambda: node(server) == other, "the other process answers")
    wait_until(lambda: len(leaders(server)) == 2, "another leads")
    wait_until(lambda: both_answer(server), "both answer again")
    assert processes(server)[other] == first[other]
    assert processes(server)[leader] != first[leader]
    assert len(leaders(server)) == 2
    assert server.stop() == 0
    assert "Traceback" not in server.said()
    assert not any(is_alive(process) for process in processes(server).values())
    assert not database_runs(server.data)


def test_a_killed_parent_leaves_nobody_behind(server: RunningServer) -> None:
    server.kill()
    left = processes(server).values()
    wait_until(lambda: not any(is_alive(process) for process in left), "both are gone")
    wait_until(lambda: not database_runs(server.data), "the database is gone")
    server.start()
    assert server.stop(signal.SIGINT) == 0


def test_more_connections_than_postgresql_takes_are_refused_at_the_start(
    horde_database: str,
) -> None:
    settings = {"processes": "3", "database_connections": "200", "database_url": horde_database}
    with data_folder() as data:
        running = Running(data / "server.log", "serve", "--port", "0", **settings)
        with running:
            wait_until(lambda: not running.lives, "the server gives up")
        assert "OPENHORDE_DATABASE_CONNECTIONS: 3 processes with 202" in running.said()
        assert "Traceback" not in running.said()


class Pair:
    """Two servers of one process each (or of two) on one database."""

    def __init__(self, stack: ExitStack, database: str) -> None:
        settings = {"database_url": database, "rate_limits": "on"}
        self.servers = []
        for processes in ("1", "2"):
            data = stack.enter_context(data_folder())
            server = RunningServer(data, processes=processes, **settings)
            self.servers.append(stack.enter_context(server))
        self._database = database

    def add_user(self, name: str) -> str:
        """A new account's API key."""
        adding = ("user", "add", name, "--trusted", "--json")
        said = run_horde(*adding, database_url=self._database)
        return str(re.findall(r'"api_key": *"([^"]+)"', said)[0])


@pytest.fixture
def pair(horde_database: str) -> Iterator[Pair]:
    """Two servers with rate limits."""
    with ExitStack() as stack:
        yield Pair(stack, horde_database)


def pop(server: RunningServer, key: str) -> Any:
    """A worker asks for work."""
    body = {
        "name": "Bob's machine",
        "models": ["stable_diffusion"],
        "bridge_agent": "AI Horde Worker reGen:13.0.0:https://example.org",
    }
    url = f"{server.url}/api/v2/generate/pop"
    return httpx.post(url, headers={"apikey": key}, json=body, timeout=30).json()


def test_servers_see_each_others_edits_and_processes_count_together(pair: Pair) -> None:
    alone, together = pair.servers
    bob = pair.add_user("Bob")
    for server in pair.servers:
        assert pop(server, bob)["id"] is None
    (worker,) = httpx.get(f"{alone.url}/api/v2/workers", timeout=30).json()
    answer = httpx.put(
        f"{alone.url}/api/v2/workers/{worker['id']}",
        headers={"apikey": bob},
        json={"maintenance": True, "maintenance_msg": "asleep"},
        timeout=30,
    )
    assert answer.status_code == 200
    wait_until(
        lambda: "asleep" in pop(together, bob).get("message", ""), "the other server knows the edit"
    )
    statuses = Counter(
        httpx.get(f"{together.url}/api/v2/status/modes", timeout=30).status_code for _ in range(34)
    )
    assert statuses == {200: 30, 429: 4}
    leading = [server for server in pair.servers if "leading" in server.said()]
    assert len(leading) == 1
    assert leading[0].stop() == 0
    (left,) = (server for server in pair.servers if server is not leading[0])
    left.wait_for_word("leading")
