# SPDX-License-Identifier: AGPL-3.0-or-later
"""Callers who never finish what they say hold nobody else up."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hostile.attacks import GIVE_UP_SECONDS, Target

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
