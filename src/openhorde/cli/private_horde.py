# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole horde on this machine, started and stopped: a server, a worker and the demo models."""

import asyncio
import fcntl
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Self

from openhorde.cli.children import RESTART_SECONDS, Child, horde_command
from openhorde.cli.options import connect
from openhorde.cli.readiness import VARIABLE, ReadyLine
from openhorde.client import ANONYMOUS_KEY, HordeError

HOST = "127.0.0.1"
DEMO_MODEL = "openhorde_shapes"
DEFAULT_MODEL = "stable_diffusion"
"""What clients ask for that name no model."""
CPU_THREADS = "OPENHORDE_WORKER_CPU_THREADS"
MAX_POWER = 3072 * 3072 // (64 * 64 * 8)
WORKER_NAME = "this-machine"
TEXT_LENGTH_FREE = 1024
"""What the demo worker writes at most. Clients ask for 768 tokens by default, with any key."""
# One engine draws, one looks at pictures and writes.
BACKENDS = ("diffusers", "transformers")
KINDS = frozenset({"image", "interrogation", "text"})
OPERATOR_IDENTITY = "local_operator"
OPERATOR_KUDOS = 1_000_000
POLL_SECONDS = 0.1
SERVER_SECONDS_MAX = 180.0
WORKER_SECONDS_MAX = 600.0
DRAIN_SECONDS_MAX = 300.0
SERVER_STOP_SECONDS_MAX = 60.0


class PrivateHordeFailure(Exception):
    """The horde can't start. `log_tail` is the end of the log of the part that failed."""

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


def models_folder() -> Path:
    """The folder of the little model that ships with the package."""
    return Path(str(files("openhorde"))) / "worker" / "demo" / "models"


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def add_operator(environment: Mapping[str, str], data: Path) -> str:
    """Make the operator's account, or give it a new key; returns the API key."""
    from openhorde.server.boot import add_user
    from openhorde.server.settings import load_settings

    added = await add_user(
        load_settings(environment, data=data),
        username="operator",
        provider_id=OPERATOR_IDENTITY,
        moderator=True,
        trusted=True,
        kudos=OPERATOR_KUDOS,
    )
    return added.api_key


@dataclass(frozen=True)
class Parts:
    """What a private horde is made of; tests put smaller parts in."""

    server: Sequence[str] = field(default_factory=lambda: horde_command("serve"))
    worker: Sequence[str] = field(default_factory=lambda: horde_command("worker"))
    add_operator: Callable[[Mapping[str, str], Path], Awaitable[str]] = add_operator
    restart_seconds: Sequence[float] = RESTART_SECONDS


class PrivateHorde:
    """Use it with `async with`: it is online inside, drained and stopped afterwards."""

    def __init__(
        self,
        data: Path,
        *,
        port: int,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        note: Callable[[str], None],
        parts: Parts | None = None,
    ) -> None:
        """`say` hears the present step, `note` what should stay on the screen."""
        self.data = data.expanduser().absolute()
        self.url = f"http://{HOST}:{port}"
        self.api_key = ""
        self._port = port
        self._say = say
        self._note = note
        self._parts = parts or Parts()
        self.environment = {
            "OPENHORDE_KNOWN_MODELS": "*",
            "OPENHORDE_WORKERS_PER_ADDRESS": "0",
            "OPENHORDE_TEXT_LENGTH_FREE": str(TEXT_LENGTH_FREE),
            **environment,
            "OPENHORDE_ADMINS": _with_operator(environment.get("OPENHORDE_ADMINS", "")),
            "OPENHORDE_HOST": HOST,
            "OPENHORDE_PORT": str(port),
            "OPENHORDE_DATA": str(self.data),
            "PYTHONUNBUFFERED": "1",
        }
        self._open = AsyncExitStack()
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        try:
            self._claim()
            await self._start()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._say("stopping: the worker finishes the work at hand first")
        await self._open.aclose()

    def hurry(self) -> None:
        """While stopping: do not wait for work at hand any longer."""
        for child in self._children:
            child.signal(signal.SIGTERM)

    @property
    def logs(self) -> list[Path]:
        """Where the children write."""
        return [child.log for child in self._children]

    def log_tails(self) -> str:
        """The ends of all logs, for a person who asks what went wrong."""
        return "\n".join(f"--- {child.log}\n{child.log_tail()}" for child in self._children)

    def _claim(self) -> None:
        """Only one horde on a data folder and a port."""
        try:
            # Logs may hold what people asked for: nobody else looks in.
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.data / "logs").mkdir(mode=0o700, exist_ok=True)
            lock = self._open.enter_context((self.data / "horde.lock").open("ab"))
        except OSError as error:
            raise PrivateHordeFailure(
                f"Cannot use the folder {self.data} ({error.strerror}). "
                "Give --data a folder that you may write to."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PrivateHordeFailure(
                f"A horde runs already on {self.data}. Stop it, or give another folder with --data."
            ) from None
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self._port))
            except OSError:
                raise PrivateHordeFailure(
                    f"Port {self._port} is taken. Give a free one: --port, or make up PORT=..."
                ) from None

    async def _start(self) -> None:
        self._say("starting the server and its database")
        server = self._child("server", self._parts.server, {}, SERVER_STOP_SECONDS_MAX)
        await self._until(self._server_answers, server, SERVER_SECONDS_MAX)
        self.api_key = await self._operator_key()
        self._say("starting the worker and loading the demo models")
        self._ready_line = self._open.enter_context(ReadyLine())
        worker_environment = {
            VARIABLE: self._ready_line.address,
            "OPENHORDE_WORKER_HORDE_URL": self.url,
            "OPENHORDE_WORKER_API_KEY": self.api_key,
            "OPENHORDE_WORKER_WORKER_NAME": WORKER_NAME,
            "OPENHORDE_WORKER_BACKENDS": ",".join(BACKENDS),
            "OPENHORDE_WORKER_KINDS": "image,alchemy,text",
            "OPENHORDE_WORKER_MODELS_FOLDER": str(models_folder()),
            "OPENHORDE_WORKER_MODELS_TO_LOAD": DEMO_MODEL,
            "OPENHORDE_WORKER_SPOOL_FOLDER": str(self.data / "spool"),
            "OPENHORDE_WORKER_STAND_INS": f"{DEFAULT_MODEL}={DEMO_MODEL}",
            # All that can be asked: the demo models are quick, and draw or read less inside.
            "OPENHORDE_WORKER_MAX_POWER": str(MAX_POWER),
            "OPENHORDE_WORKER_MAX_LENGTH": "0",
            # They are so small that several threads only wait for each other.
            CPU_THREADS: self.environment.get(CPU_THREADS, "1"),
        }
        worker = self._child("worker", self._parts.worker, worker_environment, DRAIN_SECONDS_MAX)
        await self._until(self._worker_online, worker, WORKER_SECONDS_MAX)

    def _child(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        stop_seconds_max: float,
    ) -> Child:
        """Start a child; the exit stack stops the children in reverse order, the worker first."""
        child = Child(
            name,
            command,
            {**self.environment, **environment},
            self.data / "logs" / f"{name}.log",
            self._note,
            restart_seconds=self._parts.restart_seconds,
        )
        self._children.append(child)
        child.start()
        self._open.push_async_callback(child.stop, stop_seconds_max)
        return child

    async def _until(
        self, ready: Callable[[], Awaitable[bool]], child: Child, seconds_max: float
    ) -> None:
        try:
            async with asyncio.timeout(seconds_max):
                while not await ready():
                    # Server and worker try again by themselves where that may help.
                    if child.crashes:
                        raise PrivateHordeFailure(
                            f"The {child.name} does not start. The end of {child.log}:",
                            child.log_tail(),
                        )
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise PrivateHordeFailure(
                f"The {child.name} is not ready after {seconds_max:g} s. The end of {child.log}:",
                child.log_tail(),
            ) from None

    async def _server_answers(self) -> bool:
        async with connect(self.url, ANONYMOUS_KEY) as horde:
            try:
                await horde.heartbeat()
            except HordeError:
                return False
        return True

    async def _worker_online(self) -> bool:
        """The worker of this run has its engines open, and the horde knows it.

        The horde alone cannot tell: for five minutes it believes the worker of an earlier run
        online. For each kind of work the worker has a name of its own; they begin alike.
        """
        if not self._ready_line.is_ready():
            return False
        async with connect(self.url, ANONYMOUS_KEY) as horde:
            try:
                workers = await horde.workers()
            except HordeError:
                return False
        online = {one.type for one in workers if one.online and one.name.startswith(WORKER_NAME)}
        return online >= KINDS

    async def _operator_key(self) -> str:
        """The key of an earlier start if it is still good, else a new one."""
        file = self.data / "operator.json"
        if file.exists():
            key = str(json.loads(file.read_text(encoding="utf-8"))["api_key"])
            if await self._key_works(key):
                return key
        key = await self._parts.add_operator(self.environment, self.data)
        _write_private(file, json.dumps({"api_key": key, "url": self.url}) + "\n")
        return key

    async def _key_works(self, key: str) -> bool:
        async with connect(self.url, key) as horde:
            try:
                await horde.find_user()
            except HordeError as error:
                if error.status in (401, 403, 404):
                    return False
                raise
        return True


def _with_operator(admins: str) -> str:
    """The administrators and the operator, whose account strangers cannot register into."""
    return ",".join([*([admins] if admins.strip() else []), f"provider:{OPERATOR_IDENTITY}"])


def _write_private(file: Path, text: str) -> None:
    """Write a file that only this user may read, all of it or nothing."""
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as written:
        written.write(text)
    fresh.replace(file)
