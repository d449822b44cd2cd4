# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signals: what has just happened, told to every process on the database at once.

A signal is a hint and never the truth: it may come twice, late or not at all (PostgreSQL keeps
none for who is away). Who acts on one reads the database, and looks now and then without one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar
from uuid import UUID

import asyncpg
import msgspec
import structlog

from openhorde.server.kit.database import DATABASE_AWAY
from openhorde.server.kit.queries import Query

CHANNEL = "openhorde"

PAUSE_SECONDS = 0.005
"""After something was sent, what comes next is collected for this long."""

BUSY = 4
PAUSE_SECONDS_BUSY = 0.02
"""The same after more than so many signals at once: sending costs by the time, not by the signal.
Nobody waits for each single one then."""

HEARTBEAT_SECONDS = 15.0
"""So long after the last word the connection is tried: a dead line says nothing by itself."""

ANSWER_SECONDS_MAX = 10.0
CLOSE_SECONDS_MAX = 2.0
RETRY_SECONDS_MAX = 5.0
PENDING_MAX = 20_000
"""Signals kept while PostgreSQL is away; beyond this the others are told that they missed some."""

PAYLOAD_BYTES_MAX = 7_900
"""PostgreSQL takes less than 8,000."""

_log = structlog.get_logger("openhorde.signals")


class Waiting(msgspec.Struct, frozen=True, array_like=True, tag="w"):
    """`jobs` of one request joined a lane, the first at `rank`. For `spoken_for` of them a worker
    has been called that waits at the sender."""

    kind: str
    lane: int
    rank: int
    jobs: int
    user_id: int
    finish_tag: int
    spoken_for: int = 0


class Started(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """A worker took jobs of a request, the best at `rank`."""

    kind: str
    request_id: UUID
    rank: int
    worker_id: UUID


class Changed(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """A job of a request was delivered or has faulted, or the request has come to an end."""

    request_id: UUID


class Stepped(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """A running job has done `step` of its `steps`. Nobody stores this."""

    request_id: UUID
    job_id: UUID
    step: int
    steps: int


class Edited(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """Somebody edited what processes remember: `key` is a worker's name, or a user's id."""

    noun: Literal["worker", "user"]
    key: str


class Offered(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """A worker has come, or offers something else than before."""

    user_id: int
    name: str


class _Missed(msgspec.Struct, frozen=True, array_like=True, tag="m"):
    """The sender had more to say than it could keep."""


Signal = Waiting | Started | Changed | Stepped | Edited | Offered

Kind = TypeVar("Kind", bound=Signal)

_encode = msgspec.json.Encoder().encode
_decode_all = msgspec.json.Decoder(list[Signal | _Missed]).decode
_decode_one = msgspec.json.Decoder(Signal | _Missed).decode
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Signals:
    """One process's ear and mouth. Listeners are called in the event loop; they are quick and do
    not await."""

    def __init__(self, dsn: str, queries: Mapping[str, Query]) -> None:
        self._dsn = dsn
        self._notify = queries["notify"].sql
        self._still_there = queries["still_there"].sql
        self._listeners: dict[type, list[Callable[[Any], None]]] = {}
        self._gap_listeners: list[Callable[[], None]] = []
        self._caller: Callable[[Waiting], int] | None = None
        self._pending: dict[object, Signal | _Missed] = {}
        self._wake = asyncio.Event()
        self._pid = 0
        self._closing = False

    def send(self, signal: Signal) -> None:
        """Tell the listeners of this process at once, those of others within milliseconds.

        Of several signals that say the same, or the progress of the same job, the others may hear
        the last one only.
        """
        self._dispatch(signal)
        if self._caller is not None and isinstance(signal, Waiting):
            spoken_for = self._caller(signal)
            if spoken_for:
                signal = msgspec.structs.replace(signal, spoken_for=spoken_for)
        self._collect(signal)

    def tell_others(self, signal: Signal) -> None:
        """Tell the other processes only, within milliseconds."""
        self._collect(signal)

    def listen(self, kind: type[Kind], callback: Callable[[Kind], None]) -> None:
        """Have every signal of a kind from now on, whoever sent it."""
        self._listeners.setdefault(kind, []).append(callback)

    def call_workers(self, caller: Callable[[Waiting], int]) -> None:
        """Have `caller` find workers for jobs that join, here or elsewhere, after all listeners; it
        answers how many it has called."""
        self._caller = caller

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Be called when signals may have been missed: time to read again what they tell of."""
        self._gap_listeners.append(callback)

    def _collect(self, signal: Signal | _Missed) -> None:
        key: object
        if isinstance(signal, Stepped):
            key = signal.job_id
        elif isinstance(signal, Waiting):
            key = id(signal)  # Two equal ones are twice the jobs.
        else:
            key = signal
        pending = self._pending
        pending[key] = signal
        if len(pending) > PENDING_MAX:
            pending.clear()
            missed = _Missed()
            pending[missed] = missed
        self._wake.set()

    def _dispatch(self, signal: Signal) -> None:
        for callback in self._listeners.get(type(signal), ()):
            try:
                callback(signal)
            except Exception:
                _log.exception("signal_listener_failed", signal=type(signal).__name__)

    def _tell_gap(self) -> None:
        for callback in self._gap_listeners:
            try:
                callback()
            except Exception:
                _log.exception("signal_listener_failed", signal="gap")

    def _heard(self, _connection: object, pid: int, _channel: str, payload: object) -> None:
        """A payload has come. Its own ones a process has heard already."""
        if pid == self._pid:
            return
        for signal in _read(str(payload)):
            if isinstance(signal, _Missed):
                self._tell_gap()
                continue
            self._dispatch(signal)
            if self._caller is not None and isinstance(signal, Waiting):
                self._caller(signal)

    async def connect(self) -> asyncpg.Connection:
        """A connection that listens."""
        connection = await asyncpg.connect(
            self._dsn,
            timeout=ANSWER_SECONDS_MAX,
            command_timeout=ANSWER_SECONDS_MAX,
            server_settings={"application_name": "openhorde signals"},
        )
        try:
            connection.add_termination_listener(lambda _connection: self._wake.set())
            self._pid = connection.get_server_pid()
            await connection.add_listener(CHANNEL, self._heard)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def run(self, connection: asyncpg.Connection) -> None:
        """Send what is collected until `close`; connect again whenever the connection is lost."""
        while True:
            try:
                await self._converse(connection)
                return
            except DATABASE_AWAY as error:
                _log.warning("signals_lost", reason=type(error).__name__)
            finally:
                connection.terminate()
            again = await self._connect_again()
            if again is None:
                return
            connection = again
            self._tell_gap()

    def close(self) -> None:
        """Let `run` send what is left, and end."""
        self._closing = True
        self._wake.set()

    async def _connect_again(self) -> asyncpg.Connection | None:
        pause_seconds = 0.05
        while not self._closing:
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, RETRY_SECONDS_MAX)
            try:
                connection = await self.connect()
            except DATABASE_AWAY as error:
                _log.info("signals_away", reason=type(error).__name__)
            else:
                _log.info("signals_back")
                return connection
        return None

    async def _converse(self, connection: asyncpg.Connection) -> None:
        while True:
            if not self._pending and not self._closing:
                await self._wait(connection)
            self._wake.clear()
            if connection.is_closed():
                raise ConnectionError("the connection has ended")
            if self._pending:
                busy = len(self._pending) > BUSY
                await self._flush(connection)
                if not self._closing:
                    await asyncio.sleep(PAUSE_SECONDS_BUSY if busy else PAUSE_SECONDS)
            elif self._closing:
                return

    async def _wait(self, connection: asyncpg.Connection) -> None:
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            await connection.execute(self._still_there)

    async def _flush(self, connection: asyncpg.Connection) -> None:
        taken, self._pending = self._pending, {}
        try:
            await connection.execute(self._notify, CHANNEL, _payloads(taken.values()))
        except BaseException:
            # Perhaps they were sent; twice is better than not at all.
            self._pending = taken | self._pending
            raise


def _payloads(signals: Any) -> list[str]:
    """The signals as JSON lists, each as long as PostgreSQL allows."""
    payloads: list[str] = []
    piece: list[str] = []
    size = 1
    for signal in signals:
        text = _encode(signal).decode()
        length = len(text.encode()) + 1 if not text.isascii() else len(text) + 1
        if length + 1 > PAYLOAD_BYTES_MAX:
            _log.error("signal_too_long", signal=type(signal).__name__)
            continue
        if size + length > PAYLOAD_BYTES_MAX:
            payloads.append(f"[{','.join(piece)}]")
            piece, size = [], 1
        piece.append(text)
        size += length
    if piece:
        payloads.append(f"[{','.join(piece)}]")
    return payloads


def _read(payload: str) -> list[Signal | _Missed]:
    """The signals of a payload. Those that another version of the software sends and this one
    does not know are left out."""
    try:
        return _decode_all(payload)
    except msgspec.MsgspecError:
        pass
    known = []
    try:
        for piece in _decode_raw(payload):
            try:
                known.append(_decode_one(piece))
            except msgspec.ValidationError as error:
                _log.warning("signal_unknown", reason=str(error))
    except msgspec.MsgspecError as error:
        _log.warning("signals_unreadable", reason=str(error))
    return known


@asynccontextmanager
async def open_signals(dsn: str, queries: Mapping[str, Query]) -> AsyncIterator[Signals]:
    """Listen and send on a connection of its own (through a pooler, it must be one that keeps
    sessions), until the block ends."""
    signals = Signals(dsn, queries)
    running = asyncio.create_task(signals.run(await signals.connect()))
    try:
        yield signals
    finally:
        signals.close()
        done, _ = await asyncio.wait({running}, timeout=CLOSE_SECONDS_MAX)
        if not done:
            running.cancel()
            await asyncio.wait({running})
