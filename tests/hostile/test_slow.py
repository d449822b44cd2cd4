# SPDX-License-Identifier: AGPL-3.0-or-later
"""Callers who never finish what they say hold nobody else up."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from typing import cast

import pytest
import uvicorn
from hostile.attacks import GIVE_UP_SECONDS, Target
from starlette.types import Message

from openhorde.server.actions.horde import Horde
from openhorde.server.api import operations
from openhorde.server.api.app import create_app
from openhorde.server.api.operations import Call, TooSlow
from openhorde.server.api.patience import PatientProtocol

LOITERERS = 300
HEAD = "POST /api/v2/generate/async HTTP/1.1\r\nHost: x\r\napikey: {key}\r\n"
BEGINNINGS = {
    "silent": "",
    "in the middle of the first line": "POST /api/v2/gen",
    "in the middle of the head": HEAD,
    "in the middle of the body": HEAD + 'Content-Length: 1000000\r\n\r\n{{"prompt": "',
    "in the middle of a chunk": HEAD + "Transfer-Encoding: chunked\r\n\r\nfff\r\n{{",
    "in the middle of an upload": "PUT /blobs/a.webp?x HTTP/1.1\r\nHost: x\r\n"
    "Content-Length: 99\r\n\r\nabc",
}


@pytest.fixture(params=BEGINNINGS, ids=lambda name: name.replace(" ", "-"))
def loiterers(request: pytest.FixtureRequest, target: Target) -> Iterator[list[socket.socket]]:
    """Many connections that begin to speak and then pause for ever."""
    with ExitStack() as stack:
        opened = []
        for _ in range(LOITERERS):
            address = ("127.0.0.1", target.port)
            connection = stack.enter_context(socket.create_connection(address, GIVE_UP_SECONDS))
            connection.sendall(BEGINNINGS[request.param].format(key=target.key).encode())
            opened.append(connection)
        yield opened


@pytest.mark.usefixtures("loiterers")
def test_others_are_served_meanwhile(target: Target) -> None:
    for _ in range(5):
        target.assert_well()
    beat = target.http.get("/api/v2/status/heartbeat")
    assert beat.json()["message"] == "OK"


def test_the_server_forgets_those_who_leave(target: Target, loiterers: list[socket.socket]) -> None:
    for connection in loiterers:
        connection.close()
    target.assert_well()


def test_an_answer_that_nobody_reads_holds_nobody_up(target: Target) -> None:
    asking = b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50
    with ExitStack() as stack:
        for _ in range(20):
            address = ("127.0.0.1", target.port)
            connection = stack.enter_context(socket.create_connection(address, GIVE_UP_SECONDS))
            connection.sendall(asking)
        target.assert_well()


class HastyProtocol(PatientProtocol):
    """Has little patience."""

    head_seconds = 0.2


@pytest.fixture
async def hasty_port(horde: Horde, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """The port of a server that waits for nothing longer than a moment."""
    monkeypatch.setattr(operations, "BODY_SECONDS", 0.2)
    config = uvicorn.Config(
        create_app(horde), http=HastyProtocol, log_config=None, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server._serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


async def heard_until_closed(port: int, *parts: str, drips: str = "") -> bytes:
    """What comes back on a connection until the server closes it, when somebody says the parts,
    and then the drips again and again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    for part in parts:
        writer.write(part.encode())
        heard += await reader.read(4096) if part is not parts[-1] else b""

    async def drip() -> None:
        while not writer.is_closing():
            writer.write(drips.encode())
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    # Who drips on meanwhile may find the connection reset instead of closed.
    with suppress(ConnectionResetError):
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while more := await reader.read(4096):
                heard += more
    dripping.cancel()
    writer.close()
    return heard


CALL = "GET /api/v2/status/heartbeat HTTP/1.1\r\nHost: x\r\n\r\n"
SUBMIT = "POST /api/v2/generate/async HTTP/1.1\r\nHost: x\r\napikey: 0000000000\r\n"


@pytest.mark.parametrize(
    ("parts", "drips"),
    [
        (("",), ""),
        (("GET /api/v2/stat",), ""),
        (("GET /api/v2/",), "a"),
        (("GET / HTTP/1.1\r\nHost: x\r\n",), "X-Y: z\r\n"),
        (("",), "\r\n"),
        ((CALL, "GET /api/v2/"), "a"),
        ((CALL, "\r\n"), "\r\n"),
    ],
    ids=["silent", "line", "line-drips", "headers-drip", "blank", "second-call", "second-blank"],
)
async def test_a_head_that_never_ends_ends_the_connection(
    hasty_port: int, parts: tuple[str, ...], drips: str
) -> None:
    heard = await heard_until_closed(hasty_port, *parts, drips=drips)
    assert heard.count(b"HTTP/1.1 200 OK") == len(parts) - 1


@pytest.mark.parametrize(
    ("head", "drips"),
    [
        ("Content-Length: 1000000\r\n\r\n{", ""),
        ("Content-Length: 1000000\r\n\r\n{", " "),
        ("Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"),
        ("Transfer-Encoding: chunked\r\n\r\nff", "f"),
    ],
    ids=["silent", "drips", "chunks", "chunk-size"],
)
async def test_a_body_that_does_not_come_is_given_up(
    hasty_port: int, head: str, drips: str
) -> None:
    heard = await heard_until_closed(hasty_port, SUBMIT + head, drips=drips)
    assert heard.startswith(b"HTTP/1.1 408 ")
    assert b"did not come in time" in heard


async def test_an_upload_that_does_not_come_is_given_up(hasty_port: int, horde: Horde) -> None:
    url = await horde.blobs.upload_url("a.webp", lifetime_seconds=60, bytes_max=99)
    path = url.removeprefix("http://horde.test")
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nabc"
    heard = await heard_until_closed(hasty_port, head)
    assert heard.startswith(b"HTTP/1.1 408 ")
    assert await horde.blobs.get("a.webp") is None


async def test_a_body_that_comes_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "BODY_SECONDS", 0.0)
    monkeypatch.setattr(operations, "BODY_BYTES_PER_SECOND_MIN", 1)
    parts = [b"x" * 1000, b"y"]

    async def receive() -> Message:
        if len(parts) == 1:
            await asyncio.sleep(0.001)  # By now a body without a byte has been given up.
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    call = Call(
        horde=cast(Horde, None),
        headers={},
        path={},
        query_string="",
        client_address="",
        url_root="",
        receive=receive,
    )
    assert [len(part) async for part in call.chunks()] == [1000, 1]
    parts.append(b"")
    with pytest.raises(TooSlow):
        await anext(call.chunks())
