# SPDX-License-Identifier: AGPL-3.0-or-later
"""Heads of calls are bounded, whatever they are made of."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn

from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import create_app
from openhorde.server.api.budget import BODY_BYTES_HELD_MAX
from openhorde.server.api.operations import Call, Operation
from openhorde.server.api.patience import (
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    LINE_BYTES_MAX,
    PatientProtocol,
)
from openhorde.server.kit.clock import SystemClock
from openhorde.server.kit.places import Places
from openhorde.server.settings import ServerSettings

ENOUGH = 64 << 20
PIECE = 64 << 10
MUCH = BODY_BYTES_HELD_MAX // 4


async def _hello(call: Call) -> object:
    return "hello"


async def _much(call: Call) -> object:
    return bytes(MUCH)


OPERATIONS = [
    Operation(
        name=f"{method}_hello",
        method=method,
        path="/hello",
        handler=_hello,
        summary="",
        tag="",
        body=bytes if method == "POST" else None,
        body_bytes_max=1 << 20,
        body_bytes_max_anonymous=1 << 20,
        limits=(),
    )
    for method in ("GET", "POST")
]
OPERATIONS.append(
    Operation(
        name="get_much", method="GET", path="/much", handler=_much, summary="", tag="", limits=()
    )
)


@pytest.fixture
def places() -> Places:
    """Room for a few."""
    return Places(20, of_address=10)


@pytest.fixture
async def port(places: Places) -> AsyncIterator[int]:
    """The port of a server that says hello."""
    horde = SimpleNamespace(settings=ServerSettings(rate_limits=False), clock=SystemClock())
    config = uvicorn.Config(
        create_app(cast(Horde, horde), operations=OPERATIONS),
        http=cast(Any, partial(PatientProtocol, places=places)),
        log_config=None,
        lifespan="off",
        ws="none",
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server._serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


async def said_to(port: int, parts: Iterator[bytes]) -> tuple[int, bytes]:
    """How many bytes could be said until the server closed, and what it answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = 0
    answer = asyncio.create_task(reader.read())
    with suppress(ConnectionError):
        for part in parts:
            if answer.done() or writer.is_closing():
                break
            writer.write(part)
            await writer.drain()
            sent += len(part)
    try:
        heard = await answer
    except ConnectionError:
        heard = b""
    writer.close()
    return sent, heard


def pieces(beginning: bytes, piece: bytes) -> Iterator[bytes]:
    """A beginning, and then the same piece until it is far too much."""
    yield beginning
    for _ in range(ENOUGH // len(piece)):
        yield piece


GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"GET /", b"x" * PIECE),
        (b"G", b"E" * PIECE),
        (GET + b"X: ", b"x" * PIECE),
        (GET, b"x" * PIECE),
        (GET, b"X: y\r\n" * (PIECE // 6)),
        (GET, b"X: y\r\n"),
        (GET + b"X: y\r\n", b" folded\r\n" * (PIECE // 9)),
        (CHUNKED + b"X: ", b"x" * PIECE),
        (CHUNKED, b"X: y\r\n" * (PIECE // 6)),
        (CHUNKED[:-3] + b"2;", b"x" * PIECE),
    ],
    ids=[
        "line",
        "method",
        "value",
        "name",
        "many",
        "dripping",
        "folded",
        "trailer",
        "trailers",
        "chunk-extension",
    ],
)
async def test_a_head_without_end_is_cut_off(port: int, beginning: bytes, piece: bytes) -> None:
    sent, heard = await said_to(port, pieces(beginning, piece))
    # What is under way in the system's own buffers comes on top of what was read.
    assert sent < ENOUGH // 2
    assert not heard or heard.startswith(b"HTTP/1.1 4")
    sent, heard = await said_to(port, iter([GET + b"Connection: close\r\n\r\n"]))
    assert heard.endswith(b'"hello"')


async def refused(port: int, head: bytes) -> tuple[int, str]:
    """Status and message that a whole head is answered with."""
    _, heard = await said_to(port, iter([head + b"Connection: close\r\n\r\n"]))
    head, _, body = heard.partition(b"\r\n\r\n")
    message = json.loads(body)
    return int(head.split()[1]), message if isinstance(message, str) else message["message"]


async def test_refusals_are_json_and_name_the_bound(port: int) -> None:
    line = b"GET /hello?%s HTTP/1.1\r\nHost: x\r\n"
    assert (await refused(port, line % (b"x" * (LINE_BYTES_MAX - 100))))[0] == 200
    status, message = await refused(port, line % (b"x" * LINE_BYTES_MAX))
    assert (status, str(LINE_BYTES_MAX) in message) == (414, True)
    assert (await refused(port, GET + b"X: y\r\n" * (HEADERS_MAX - 2)))[0] == 200
    status, message = await refused(port, GET + b"X: y\r\n" * HEADERS_MAX)
    assert (status, str(HEADERS_MAX) in message) == (431, True)
    assert (await refused(port, GET + b"X: %s\r\n" % (b"y" * (HEAD_BYTES_MAX - 100))))[0] == 200
    status, message = await refused(port, GET + b"X: %s\r\n" % (b"y" * HEAD_BYTES_MAX))
    assert (status, str(HEAD_BYTES_MAX) in message) == (431, True)
    assert (await refused(port, b"nonsense\r\n"))[0] == 400


async def test_a_body_is_no_head(port: int) -> None:
    body = b"x" * (4 * HEAD_BYTES_MAX)
    for size in (1 << 10, len(body)):
        head = b"POST /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        _, heard = await said_to(port, iter([head % size, body[:size]]))
        assert heard.startswith(b"HTTP/1.1 200")


async def test_idle_connections_make_room_and_working_ones_stay(port: int, places: Places) -> None:
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
    # One that has called and rests now idles shorter than those that never spoke.
    reader, writer = connections[0]
    writer.write(GET + b"\r\n")
    assert (await reader.readuntil(b'"hello"')).startswith(b"HTTP/1.1 200")
    _, more = await asyncio.open_connection("127.0.0.1", port)
    assert await connections[1][0].read() == b""
    writer.write(GET + b"\r\n")
    assert (await reader.readuntil(b'"hello"')).startswith(b"HTTP/1.1 200")
    assert places.taken <= 11
    for _, each in (*connections, (None, more)):
        each.close()


async def much(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """A call for a large answer, of which only the first line is taken."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
    return reader, writer, await reader.readline()


async def test_answers_that_nobody_takes_are_bounded_and_let_go(port: int) -> None:
    lying = [await much(port) for _ in range(2)]
    assert all(b" 200 " in line for _, _, line in lying)
    *_, line = third = await much(port)
    assert b" 429 " in line
    assert b"Please try again soon" in await third[0].readuntil(b"}")
    for _, writer, _ in (lying[0], third):
        writer.transport.abort()
    # What is taken after all comes whole, and makes room.
    reader, writer, _ = lying[1]
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(MUCH) == bytes(MUCH)
    for _ in range(2):
        again, more, line = await much(port)
        assert b" 200 " in line
        await again.readuntil(b"\r\n\r\n")
        assert len(await again.readexactly(MUCH)) == MUCH
        more.close()
    writer.close()


async def test_a_caller_who_takes_nothing_is_cut_off(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientProtocol, "answer_seconds", 0.0)
    reader, writer, line = await much(port)
    assert b" 200 " in line
    with suppress(ConnectionError):
        assert len(await reader.read(-1)) < MUCH
    writer.close()
