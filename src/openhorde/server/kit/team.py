# SPDX-License-Identifier: AGPL-3.0-or-later
"""A team of processes that serve one listening socket: the parent's half; `seat.py` is the child's.

The parent alone accepts, and hands each connection to the child with the fewest (by SCM_RIGHTS).
Connections live long and bring most of the work, so it matters where they land: children that all
accept from one socket take as many as they happen to wake up for, and a socket each (SO_REUSEPORT)
deals them out by hash and leaves a dead child's share waiting.

The channel to a child is a pair of stream sockets. Down go connections, one byte and one file
descriptor each; up comes `REPORT`, first when the child is ready. Its end tells a child that the
parent is gone, however it went.
"""

import asyncio
import signal
import socket
import struct
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

import structlog

REPORT = struct.Struct("<II")
"""How many connections a child has taken so far (modulo 2^32), and how many of them are open."""

ACCEPTED_AT_ONCE_MAX = 64
PAUSE_SECONDS = 0.05
RESTART_SECONDS = (0.2, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
HEALTHY_SECONDS = 60.0
STOP_SECONDS = 45.0
"""Children finish what they have begun; who still lives after this is killed."""

_log = structlog.get_logger("openhorde.team")


class TeamFailure(Exception):
    """The team cannot start; the text says what happened."""


@dataclass(slots=True, eq=False)
class _Member:
    """One life of one child. `sent`, `taken` and `open` count connections."""

    number: int
    channel: socket.socket
    sent: int = 0
    taken: int = 0
    open: int = 0
    is_ready: bool = False
    unread: bytearray = field(default_factory=bytearray)

    def load(self) -> int:
        """Connections that it has, or will have when it has taken what was sent."""
        return (self.sent - self.taken) % 2**32 + self.open


class Team:
    """Children that are kept running, and a socket whose connections they share."""

    def __init__(
        self,
        listener: socket.socket,
        size: int,
        command: Callable[[int, int], Sequence[str]],
        environment: Mapping[str, str],
        *,
        inherited: Sequence[int] = (),
        on_ready: Callable[[], None],
    ) -> None:
        """`command(number, channel)` is what child `number` (from 1) runs, given the file
        descriptor of its channel; it inherits the descriptors `inherited` too. `on_ready` is
        called once, when all children have been ready."""
        self._listener = listener
        self._numbers = range(1, size + 1)
        self._command = command
        self._environment = environment
        self._inherited = tuple(inherited)
        self._on_ready = on_ready
        self._processes: dict[int, Process] = {}
        self._members: list[_Member] = []
        self._were_ready: set[int] = set()
        self._accepted: socket.socket | None = None
        self._accepting = False
        self._stopping = False

    async def run(self, until: asyncio.Event) -> None:
        """Serve until the event is set; then let the children finish.

        Raises TeamFailure when a child ends before any has been ready.
        """
        self._listener.setblocking(False)
        keepers = [asyncio.create_task(self._keep(number)) for number in self._numbers]
        asked = asyncio.create_task(until.wait())
        try:
            await asyncio.wait({asked, *keepers}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            await self._stop(keepers)
        for keeper in keepers:
            if not keeper.cancelled():
                keeper.result()

    async def _stop(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        self._stopping = True
        self._pause_accepting()
        self._listener.close()
        if self._accepted is not None:
            self._accepted.close()
        for number, keeper in zip(self._numbers, keepers, strict=True):
            if number in self._processes:
                self._signal(number, signal.SIGTERM)
            else:
                keeper.cancel()
        _, late = await asyncio.wait(keepers, timeout=STOP_SECONDS)
        if late:
            for number in self._numbers:
                self._signal(number, signal.SIGKILL)
            await asyncio.wait(late)

    def _signal(self, number: int, what: signal.Signals) -> None:
        with suppress(ProcessLookupError, KeyError):
            self._processes[number].send_signal(what)

    async def _keep(self, number: int) -> None:
        """Keep one child running, with growing pauses."""
        failures = 0
        while True:
            began = monotonic()
            code = await self._live(number)
            if self._stopping:
                return
            if not self._were_ready:
                raise TeamFailure(f"process {number} cannot start ({_ending(code)}); see above")
            failures = 0 if monotonic() - began > HEALTHY_SECONDS else failures
            pause_seconds = RESTART_SECONDS[min(failures, len(RESTART_SECONDS) - 1)]
            failures += 1
            _log.warning("process_ended", number=number, ending=_ending(code), pause=pause_seconds)
            await asyncio.sleep(pause_seconds)

    async def _live(self, number: int) -> int:
        """One life of a child: its exit code."""
        ours, theirs = socket.socketpair()
        member = _Member(number, ours)
        loop = asyncio.get_running_loop()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *self._command(number, theirs.fileno()),
                    env=dict(self._environment),
                    stdin=DEVNULL,
                    pass_fds=(theirs.fileno(), *self._inherited),
                    # Ctrl-C is for the parent, which stops the children in order.
                    start_new_session=True,
                )
            self._processes[number] = process
            if self._stopping:
                process.terminate()
            ours.setblocking(False)
            loop.add_reader(ours, self._hear, member)
            self._members.append(member)
            return await process.wait()
        finally:
            self._processes.pop(number, None)
            loop.remove_reader(ours)
            self._dismiss(member)
            ours.close()

    def _hear(self, member: _Member) -> None:
        """A child reports."""
        try:
            heard = member.channel.recv(64 * REPORT.size)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            asyncio.get_running_loop().remove_reader(member.channel)
            self._dismiss(member)
            return
        member.unread += heard
        whole = len(member.unread) // REPORT.size * REPORT.size
        if not whole:
            return
        member.taken, member.open = REPORT.unpack_from(member.unread, whole - REPORT.size)
        del member.unread[:whole]
        if not member.is_ready:
            self._welcome(member)

    def _welcome(self, member: _Member) -> None:
        member.is_ready = True
        if self._were_ready.issuperset(self._numbers):
            _log.info("process_ready", number=member.number)
        else:
            self._were_ready.add(member.number)
            if self._were_ready.issuperset(self._numbers):
                self._on_ready()
        self._accept_again()

    def _dismiss(self, member: _Member) -> None:
        """Give a child no more connections."""
        member.is_ready = False
        if member in self._members:
            self._members.remove(member)
        if not any(each.is_ready for each in self._members):
            self._pause_accepting()

    def _accept_again(self) -> None:
        is_any_ready = any(member.is_ready for member in self._members)
        if is_any_ready and not (self._accepting or self._stopping):
            self._accepting = True
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _pause_accepting(self) -> None:
        """Leave callers in the socket's queue."""
        if self._accepting:
            self._accepting = False
            asyncio.get_running_loop().remove_reader(self._listener)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE_MAX):
            if self._accepted is None:
                try:
                    self._accepted, _ = self._listener.accept()
                except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                    return
                except OSError as error:  # Such as too many open files.
                    _log.warning("cannot_accept", reason=str(error))
                    self._accept_later()
                    return
            if not self._hand_over(self._accepted):
                self._accept_later()
                return
            self._accepted.close()
            self._accepted = None

    def _accept_later(self) -> None:
        self._pause_accepting()
        asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._accept_again)

    def _hand_over(self, connection: socket.socket) -> bool:
        """Give a connection to the child that has fewest; False when none can take it now."""
        ready = [member for member in self._members if member.is_ready]
        for member in sorted(ready, key=_Member.load):
            try:
                socket.send_fds(member.channel, [b"c"], [connection.fileno()])
            except OSError:  # Its channel is full, or it has just died.
                continue
            member.sent += 1
            return True
        return False


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
