# SPDX-License-Identifier: AGPL-3.0-or-later
"""A program that is started says when it is ready, as services say it to systemd (sd_notify)."""

import contextlib
import socket
import tempfile
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from openhorde.worker.agent.events import Event

VARIABLE = "NOTIFY_SOCKET"
READY = "READY=1"
WORDS_BYTES_MAX = 4096


def tell_ready(environment: MutableMapping[str, str]) -> None:
    """Tell whoever started this process that it is ready, if that wants to be told.

    It is told once: the variable is taken out, so that children say nothing in our name.
    """
    address = environment.pop(VARIABLE, "")
    if not address:
        return
    # A name in Linux's abstract namespace is written with an @.
    address = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        # Whoever asked may not listen any more, or be gone: a program that has been started many
        # times must not wait until what it told before is read.
        line.setblocking(False)
        with contextlib.suppress(OSError):
            line.sendto(READY.encode(), address)


class ReadyLine:
    """Where a child says that it is ready; `address` is for its environment. Use it with `with`."""

    def __init__(self) -> None:
        # Not in the data folder: the path of a socket may have a hundred bytes only.
        self._folder = tempfile.TemporaryDirectory(prefix="horde-")
        self.address = str(Path(self._folder.name) / "ready")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self.address)
        self._is_ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._folder.cleanup()

    def is_ready(self) -> bool:
        """Whether the child has said so by now."""
        while not self._is_ready:
            try:
                words = self._socket.recv(WORDS_BYTES_MAX)
            except BlockingIOError:
                break
            self._is_ready = READY in words.decode(errors="replace").splitlines()
        return self._is_ready


class EnginesReady:
    """Hears a worker's events, and tells once that of every backend an engine is open, or none
    will be."""

    def __init__(self, backends: Iterable[str], environment: MutableMapping[str, str]) -> None:
        self._awaited = set(backends)
        self._environment = environment

    def __call__(self, event: "Event") -> None:
        """Hear one event."""
        from openhorde.worker.agent.events import EngineChanged

        if isinstance(event, EngineChanged) and event.state != "opening":
            self._awaited.discard(event.backend)
            if not self._awaited:
                tell_ready(self._environment)
