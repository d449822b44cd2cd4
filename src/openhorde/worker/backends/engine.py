# SPDX-License-Identifier: AGPL-3.0-or-later
"""The worker's hold on one engine process: start it, give it jobs, kill it when it hangs."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable

import msgspec

from openhorde.worker.backends import messages
from openhorde.worker.backends.base import Artifact, Capabilities, InMemory, Job, JobFault
from openhorde.worker.settings import WorkerSettings

OPEN_SECONDS_MAX = 900.0
CLOSE_SECONDS_MAX = 5.0
LAST_BREATH_SECONDS_MAX = 2.0
CHILD = ("-m", "openhorde.worker.backends.child")


class EngineDied(Exception):
    """The engine process is gone, or never came up; the message says how."""


class Engine:
    """One engine of the backend `name`, in a process of its own. One job at a time."""

    def __init__(self, settings: WorkerSettings, name: str) -> None:
        self.name = name
        # An engine talks to nobody, so it need not know the key.
        self._settings = msgspec.structs.replace(settings, api_key="")
        self.in_memory: list[InMemory] = []
        """What it had in memory when it was last heard of."""
        self._process: asyncio.subprocess.Process | None = None
        self._job_id: str | None = None
        self._time: asyncio.Timeout | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def process_id(self) -> int | None:
        """The operating system's id of the process, while it runs."""
        return self._process.pid if self._process is not None and self.alive else None

    async def ended(self) -> str:
        """Wait until the process is gone, while it has no job; returns how it ended."""
        if self._process is not None:
            await self._process.wait()
        return await self._how_it_ended()

    async def open(self) -> Capabilities:
        """Start the process and its engine. Raises EngineDied, and then nothing is left running."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *CHILD,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(OPEN_SECONDS_MAX):
                await self._say(messages.Open(self.name, self._settings))
                answer = await self._hear()
        except TimeoutError:
            await self.kill()
            raise EngineDied(f"the engine did not open within {OPEN_SECONDS_MAX:g} s") from None
        except asyncio.CancelledError:
            await self.kill()
            raise
        if isinstance(answer, messages.Ready):
            self.in_memory = answer.in_memory
            return answer.capabilities
        await self.kill()
        reason = answer.reason if isinstance(answer, messages.Unable) else "it spoke out of turn"
        raise EngineDied(f"the engine cannot be opened: {reason}")

    async def run(
        self,
        job: Job,
        seconds_max: float,
        grace_seconds: float,
        on_progress: Callable[[int, int], None],
    ) -> list[Artifact]:
        """Do a job within `seconds_max`, or what `allow` has made of them; then it has
        `grace_seconds` to give up, or is killed.

        Raises JobFault when the job failed and the engine is well, EngineDied when it is gone.
        """
        self._job_id = job.id
        began_at = asyncio.get_running_loop().time()
        try:
            try:
                async with asyncio.timeout(seconds_max) as self._time:
                    await self._say(messages.Run(job))
                    return await self._result(job, on_progress)
            except TimeoutError:
                seconds = asyncio.get_running_loop().time() - began_at
                return await self._give_up(job, seconds, grace_seconds)
        except asyncio.CancelledError:
            await self.kill()
            raise
        finally:
            self._job_id = self._time = None

    def allow(self, seconds_max: float) -> None:
        """Give the running job, if any, so long from now on."""
        if self._time is not None and not self._time.expired():
            self._time.reschedule(asyncio.get_running_loop().time() + seconds_max)

    async def cancel(self) -> None:
        """Ask the running job, if any, to give up; `run` then raises JobFault."""
        if self._job_id is not None and self.alive:
            await self._say(messages.Cancel(self._job_id))

    async def close(self) -> None:
        """End the process: it ends by itself when its pipe closes, and is killed if it does not."""
        if self._process is None or not self.alive:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End the process at once."""
        if self._process is not None and self.alive:
            self._process.kill()
            await self._process.wait()

    async def _result(self, job: Job, on_progress: Callable[[int, int], None]) -> list[Artifact]:
        while True:
            match await self._hear():
                case messages.Progress(job_id, step, steps) if job_id == job.id:
                    on_progress(step, steps)
                case messages.Holds(in_memory):
                    self.in_memory = in_memory
                case messages.Done(job_id, artifacts) if job_id == job.id:
                    return artifacts
                case messages.Faulted(job_id, reason, notes) if job_id == job.id:
                    raise JobFault(reason, notes)

    async def _give_up(self, job: Job, seconds: float, grace_seconds: float) -> list[Artifact]:
        """A slow engine hears the cancel and keeps its models; one that hangs is killed."""
        try:
            async with asyncio.timeout(grace_seconds):
                await self.cancel()
                return await self._result(job, lambda step, steps: None)
        except JobFault:
            raise JobFault(f"not done within {seconds:.0f} s") from None
        except TimeoutError:
            await self.kill()
            raise EngineDied(f"hung: no answer {seconds:.0f} s after it was asked") from None

    async def _say(self, message: messages.ToEngine) -> None:
        pipe = self._process.stdin if self._process is not None else None
        if pipe is None:
            raise EngineDied("the engine is not open")
        try:
            pipe.write(messages.frame(message))
            await pipe.drain()
        except OSError:
            raise EngineDied(await self._how_it_ended()) from None

    async def _hear(self) -> messages.FromEngine:
        pipe = self._process.stdout if self._process is not None else None
        if pipe is None:
            raise EngineDied("the engine is not open")
        try:
            head = await pipe.readexactly(messages.LENGTH_BYTES)
            return messages.from_engine(await pipe.readexactly(messages.frame_length(head)))
        except (asyncio.IncompleteReadError, OSError):
            raise EngineDied(await self._how_it_ended()) from None
        except (ValueError, msgspec.DecodeError) as error:
            await self.kill()
            raise EngineDied(f"the engine said something unreadable: {error}") from error

    async def _how_it_ended(self) -> str:
        """Its pipe is closed, so it ends by itself; to kill it first would hide its status."""
        status = None
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_BREATH_SECONDS_MAX):
                    await self._process.wait()
            await self.kill()
            status = self._process.returncode
        if status is not None and status < 0:
            return f"the engine was ended by {signal.Signals(-status).name}"
        return f"the engine ended with status {status}"
