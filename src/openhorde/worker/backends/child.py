# SPDX-License-Identifier: AGPL-3.0-or-later
"""The process an engine runs in: `python -m openhorde.worker.backends.child`.

Messages come in on stdin and go out on what was stdout. Anything printed goes to stderr. The
process ends by itself when the pipe closes, which it does however the worker ends.
"""

import ctypes
import os
import queue
import signal
import sys
import threading
from typing import BinaryIO

from openhorde.incoming.texts import write_anything
from openhorde.worker.backends import messages
from openhorde.worker.backends.base import (
    Backend,
    Cancelled,
    EngineLost,
    InMemory,
    Job,
    JobFault,
    KeepsModels,
)
from openhorde.worker.backends.registry import make_backend
from openhorde.worker.settings import WorkerSettings

PR_SET_PDEATHSIG = 1
LOST_STATUS = 75
"""Ends a process whose engine is a server that went away: "try again later", by convention."""


def main() -> None:
    """Serve one engine until the pipe closes."""
    # Ctrl-C and a service manager signal the whole group; the worker alone decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _die_with_parent()
    write_anything(sys.stdout, sys.stderr)
    outgoing = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _Child(sys.stdin.buffer, outgoing).serve()


def _die_with_parent() -> None:
    """Ask the kernel for what the pipe cannot do: end an engine that is stuck in native code."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class _Child:
    """Reads in a thread, so that a cancel or the end of the pipe is heard while a job runs."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._waiting: queue.SimpleQueue[messages.Open | messages.Run] = queue.SimpleQueue()
        self._cancelled: set[str] = set()

    def serve(self) -> None:
        threading.Thread(target=self._read, name="messages", daemon=True).start()
        backend: Backend | None = None
        while True:
            match self._waiting.get():
                case messages.Open(name, settings):
                    backend = self._open(name, settings)
                case messages.Run(job) if backend is not None:
                    self._run(backend, job)

    def _read(self) -> None:
        while (message := messages.read_to_engine(self._incoming)) is not None:
            if isinstance(message, messages.Cancel):
                self._cancelled.add(message.job_id)
            else:
                self._waiting.put(message)
        # The main thread may be deep in an engine; nobody is left to hear of a tidy end.
        os._exit(0)

    def _open(self, name: str, settings: WorkerSettings) -> Backend | None:
        try:
            backend = make_backend(settings, name)
            capabilities = backend.open()
        except Exception as error:
            self._say(messages.Unable(_reason(error)))
            return None
        self._say(messages.Ready(capabilities, _in_memory(backend)))
        return backend

    def _run(self, backend: Backend, job: Job) -> None:
        outcome: messages.Done | messages.Faulted
        try:
            artifacts = backend.run(
                job,
                lambda step, steps: self._say(messages.Progress(job.id, step, steps)),
                lambda: job.id in self._cancelled,
            )
        except Cancelled:
            outcome = messages.Faulted(job.id, "cancelled")
        except EngineLost as lost:
            self._say(messages.Faulted(job.id, str(lost), lost.notes))
            os._exit(LOST_STATUS)  # The worker opens another one, and asks for nothing meanwhile.
        except JobFault as fault:
            outcome = messages.Faulted(job.id, str(fault), fault.notes)
        except Exception as error:
            outcome = messages.Faulted(job.id, _reason(error))
        else:
            outcome = messages.Done(job.id, artifacts)
        if isinstance(backend, KeepsModels):
            self._say(messages.Holds(_in_memory(backend)))
        self._say(outcome)
        self._cancelled.discard(job.id)

    def _say(self, message: messages.FromEngine) -> None:
        try:
            self._outgoing.write(messages.frame(message))
            self._outgoing.flush()
        except BrokenPipeError:
            os._exit(0)


def _in_memory(backend: Backend) -> list[InMemory]:
    return backend.in_memory() if isinstance(backend, KeepsModels) else []


def _reason(error: Exception) -> str:
    """Our own words as they are; anything else with its type, which is half of what it says."""
    return str(error) if type(error) is RuntimeError else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
