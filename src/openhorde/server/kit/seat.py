# SPDX-License-Identifier: AGPL-3.0-or-later
"""A child's place in a team of processes (see `team.py`): it is handed connections."""

import asyncio
import socket
from collections.abc import Callable

from openhorde.server.kit.team import REPORT

REPORT_SECONDS = 0.2
TAKEN_AT_ONCE_MAX = 64


class Seat:
    """Takes connections from the parent and tells it how many are open."""

    def __init__(self, channel: int, on_parent_gone: Callable[[], None]) -> None:
        """`channel` is the file descriptor that the parent named."""
        self._channel = socket.socket(fileno=channel)
        self._channel.setblocking(False)
        self._on_parent_gone = on_parent_gone
        self._taken = 0
        self._opening: set[asyncio.Task[object]] = set()
        self._reporter: asyncio.Task[None] | None = None

    def sit(self, protocol: Callable[[], asyncio.Protocol], count_open: Callable[[], int]) -> None:
        """Be ready: from now on every connection gets a new protocol."""
        self._protocol = protocol
        asyncio.get_running_loop().add_reader(self._channel, self._take)
        self._reporter = asyncio.create_task(self._report(count_open))

    def leave(self) -> None:
        """Take no more; may be called again."""
        if self._reporter is not None:
            self._reporter.cancel()
            self._reporter = None
            asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()

    def _take(self) -> None:
        for _ in range(TAKEN_AT_ONCE_MAX):
            try:
                said, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
            except BlockingIOError:
                return
            except OSError:
                said, descriptors = b"", []
            if not said:
                asyncio.get_running_loop().remove_reader(self._channel)
                self._on_parent_gone()
                return
            self._taken += 1
            for descriptor in descriptors:
                self._open(socket.socket(fileno=descriptor))

    def _open(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        opening: asyncio.Task[object] = loop.create_task(
            loop.connect_accepted_socket(self._protocol, connection)
        )
        # Kept, so that it is not collected; forgotten with its failure: who called is gone again.
        self._opening.add(opening)
        opening.add_done_callback(self._opened)

    def _opened(self, opening: asyncio.Task[object]) -> None:
        self._opening.discard(opening)
        if not opening.cancelled():
            opening.exception()

    async def _report(self, count_open: Callable[[], int]) -> None:
        last = b""
        while True:
            report = REPORT.pack(self._taken % 2**32, count_open() + len(self._opening))
            if report != last:
                try:
                    self._channel.send(report)
                except BlockingIOError:
                    pass
                except OSError:
                    return  # The parent is gone; the reader sees that too.
                else:
                    last = report
            await asyncio.sleep(REPORT_SECONDS)
