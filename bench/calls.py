# SPDX-License-Identifier: AGPL-3.0-or-later
"""HTTP/1.1 by hand on kept connections: the load must cost less than what it measures."""

import asyncio
import time
from typing import Any, NamedTuple

import msgspec

from bench.demand import CLIENT_AGENT

HOST = "127.0.0.1"
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class Answer(NamedTuple):
    """Status and body of an answer."""

    status: int
    body: bytes


class Connection(asyncio.Protocol):
    """One kept connection with one call at a time on it."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._received = b""
        self._waiter: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to write."""
        self._transport = transport

    def call(self, request: bytes) -> "asyncio.Future[Answer]":
        """Send a request; the answer to wait for."""
        self._waiter = asyncio.get_running_loop().create_future()
        if self._transport.is_closing():
            self._waiter.set_exception(ConnectionError("the server closed the connection"))
        else:
            self._transport.write(request)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        """Take a piece of an answer. Our server always says how long it is."""
        if self._received:
            data = self._received + data
        head_end = data.find(_HEAD_END)
        if head_end >= 0:
            start = data.index(_LENGTH) + len(_LENGTH)
            length = int(data[start : data.index(b"\r\n", start)])
            if len(data) >= head_end + len(_HEAD_END) + length:
                self._received = b""
                waiter, self._waiter = self._waiter, None
                if waiter is not None and not waiter.done():
                    waiter.set_result(Answer(int(data[9:12]), data[head_end + len(_HEAD_END) :]))
                return
        self._received = data

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionError("the server closed the connection"))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


class Line:
    """A connection that is made anew when the server has hung up on a quiet one.

    A server may close a kept connection that has been idle; a call that crosses this was never
    read, so it is sent again, as every HTTP client does. `reconnected` says how often, and after
    how long a silence.
    """

    def __init__(self, port: int, connection: Connection) -> None:
        self._port = port
        self._connection = connection
        self._quiet_since = time.monotonic()
        self.reconnected: list[float] = []

    async def call(self, request: bytes) -> Answer:
        """Send a request and wait for the answer."""
        silence_seconds = time.monotonic() - self._quiet_since
        try:
            answer = await self._connection.call(request)
        except ConnectionError:
            self.reconnected.append(silence_seconds)
            self._connection = await _connected(self._port)
            answer = await self._connection.call(request)
        self._quiet_since = time.monotonic()
        return answer

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


async def connect(port: int) -> Line:
    """A line to the server on this machine."""
    return Line(port, await _connected(port))


async def _connected(port: int) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, HOST, port)
    return connection


def request_bytes(
    method: str, path: str, *, api_key: str = "", body: dict[str, Any] | None = None
) -> bytes:
    """A whole request, made once and sent often."""
    content = msgspec.json.encode(body) if body is not None else b""
    return request_head(method, path, api_key=api_key, body_bytes=len(content)) + content


def request_head(method: str, path: str, *, api_key: str = "", body_bytes: int = 0) -> bytes:
    """What stands before the body."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", f"Client-Agent: {CLIENT_AGENT}"]
    if api_key:
        lines.append(f"apikey: {api_key}")
    if body_bytes:
        lines += ["Content-Type: application/json", f"Content-Length: {body_bytes}"]
    return "\r\n".join([*lines, "", ""]).encode()
