# SPDX-License-Identifier: AGPL-3.0-or-later
"""Child processes that are kept running: logs to a file, restarts with growing pauses, stops."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOG_BYTES_MAX = 8 * 1024 * 1024
TAIL_LINES = 25
RESTART_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
HEALTHY_SECONDS = 60.0


def horde_command(*arguments: str) -> list[str]:
    """A `horde` command as a child of this process, whatever is on the PATH."""
    return [sys.executable, "-m", "openhorde.cli.child", str(os.getpid()), *arguments]


class Child:
    """One process with a name. `say` hears of crashes and restarts."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        say: Callable[[str], None],
        *,
        restart_seconds: Sequence[float] = RESTART_SECONDS,
    ) -> None:
        self.name = name
        self.log = log
        self.crashes = 0
        self.running = asyncio.Event()
        self._command = command
        self._environment = environment
        self._say = say
        self._restart_seconds = restart_seconds
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to keep the process running."""
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def stop(self, patience_seconds: float) -> None:
        """Ask the process to finish, wait for that, and kill it only when patience runs out."""
        self._stopping = True
        if self._keeper is None:
            return
        if self._process is None:
            # Between two lives, or not born yet.
            self._keeper.cancel()
        self.signal(signal.SIGTERM)
        done, _ = await asyncio.wait({self._keeper}, timeout=patience_seconds)
        if not done:
            self.signal(signal.SIGKILL)
            await asyncio.wait({self._keeper})

    def signal(self, number: signal.Signals) -> None:
        """Signal the process, if there is one now."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def log_tail(self) -> str:
        """The end of the log, for a person who asks what went wrong."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-TAIL_LINES:])

    async def _keep(self) -> None:
        in_a_row = 0
        while not self._stopping:
            started = time.monotonic()
            code = await self._live()
            if self._stopping:
                return
            self.crashes += 1
            in_a_row = 0 if time.monotonic() - started > HEALTHY_SECONDS else in_a_row
            pause = self._restart_seconds[min(in_a_row, len(self._restart_seconds) - 1)]
            in_a_row += 1
            self._say(f"the {self.name} ended ({_ending(code)}). Its log: {self.log}")
            await asyncio.sleep(pause)
            self._say(f"starting the {self.name} again")

    async def _live(self) -> int:
        """One life of the process: its exit code."""
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is for this process, which stops children in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running.set()
        if self._stopping:
            self.signal(signal.SIGTERM)
        code = await self._process.wait()
        self.running.clear()
        self._process = None
        return code


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
