# SPDX-License-Identifier: AGPL-3.0-or-later
"""Servers, workers and commands as what they are in life: processes of their own."""

import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

import httpx

from openhorde.cli.children import horde_command
from openhorde.cli.private_horde import free_port

T = TypeVar("T")

PATIENCE_SECONDS = 300.0
PAUSE_SECONDS = 0.05


def wait_until(happened: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """What `happened` answers, as soon as that is true; AssertionError when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        found = happened()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(PAUSE_SECONDS)


def environment(**settings: str) -> dict[str, str]:
    """This environment without settings of another horde, plus these: `port` is OPENHORDE_PORT."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENHORDE_")}
    return {
        **kept,
        **{f"OPENHORDE_{name.upper()}": value for name, value in settings.items()},
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


@contextmanager
def data_folder() -> Iterator[Path]:
    """A folder that the embedded PostgreSQL can use, even when we are root and it is not."""
    folder = Path(tempfile.mkdtemp(prefix="openhorde-outside-"))
    try:
        yield folder
    finally:
        # The database's last process may still be closing a file.
        shutil.rmtree(folder, ignore_errors=True)


def run_horde(*arguments: str, seconds: float = PATIENCE_SECONDS, **settings: str) -> str:
    """What a `horde` command prints. It must succeed."""
    done = subprocess.run(
        horde_command(*arguments),
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Running:
    """A `horde` command that goes on. It is killed, if it still lives, when the block ends."""

    open_files_max: int | None = None
    """So many files it may have open; None for as many as we may."""

    def __init__(self, log: Path, *arguments: str, **settings: str) -> None:
        self.log = log
        self._arguments = arguments
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Begin, or begin again; the log goes on."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                horde_command(*self._arguments),
                env=environment(**self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self._bound_files if self.open_files_max else None,
            )

    def _bound_files(self) -> None:
        assert self.open_files_max is not None
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.open_files_max, self.open_files_max))

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        try:
            return self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"does not end on {number.name}:\n{self.said()}") from None

    @property
    def lives(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int:
        """The process's id; of the last one, if it has ended."""
        assert self._process is not None
        return self._process.pid

    def said(self) -> str:
        """All that it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def wait_for_word(self, word: str) -> str:
        """What it has printed, once a word is in it."""

        def heard() -> str:
            said = self.said()
            assert self.lives or word in said, f"it ended without {word!r}:\n{said}"
            return said if word in said else ""

        return wait_until(heard, f"{word!r} in {self.log}")


class RunningServer(Running):
    """`horde serve` on a data folder and a port that stay the same from start to start."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        given = {"known_models": "*", "rate_limits": "off", **settings}
        arguments = ("serve", "--port", str(self.port), "--data", str(data))
        super().__init__(data / "server.log", *arguments, **given)

    def start(self) -> None:
        """Start, and wait until calls are answered."""
        super().start()
        wait_until(self.answers, f"the server answers, see {self.log}")

    def add_user(
        self,
        name: str,
        *,
        kudos: int = 0,
        trusted: bool = True,
        moderator: bool = False,
        provider_id: str | None = None,
    ) -> str:
        """A new account's API key."""
        options = ["--trusted"] if trusted else []
        options += [] if provider_id is None else ["--id-from", provider_id]
        options += ["--moderator"] if moderator else []
        added = run_horde(
            *("user", "add", name, "--kudos", str(kudos), "--json", "--data", str(self.data)),
            *options,
        )
        return str(json.loads(added)["api_key"])

    def worker(self, name: str, api_key: str, *options: str) -> Running:
        """A worker with the fake engine for this server, not started yet."""
        arguments = ("worker", "--backends", "fake", "--url", self.url, "--api-key", api_key)
        polling = ("--idle-seconds", "0.1", "--idle-seconds-max", "0.3")
        retrying = ("--retry-seconds", "0.1", "--retry-seconds-max", "1")
        return Running(
            self.data / f"{name}.log",
            *(*arguments, *polling, *retrying, "--worker-name", name, *options),
        )

    def answers(self) -> bool:
        assert self.lives, f"the server ended:\n{self.said()}"
        try:
            beat = httpx.get(f"{self.url}/api/v2/status/heartbeat", timeout=5)
        except httpx.HTTPError:
            return False
        return bool(beat.json()["db_connection"] == "OK")
