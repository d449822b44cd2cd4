# SPDX-License-Identifier: AGPL-3.0-or-later
"""Nobody here unpacks what others packed: every caller, against a real server."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from ipaddress import ip_network
from typing import Any

import brotli
import httpx
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openhorde.client.transport import Transport
from openhorde.incoming.answers import (
    AnswerRefused,
    bounded_blocking_client,
    bounded_client,
    retry_after_seconds,
)
from openhorde.server.kit.fetch import Fetcher as ServerFetcher
from openhorde.worker.agent.api import Away, HordeApi, Unreached
from openhorde.worker.backends.servers import Server
from openhorde.worker.library.fetching import Fetcher as WorkerFetcher
from openhorde.worker.panel.calls import OwnerCalls
from openhorde.worker.settings import load_settings

UNPACKED = b'{"message": "' + bytes(20 << 20) + b'"}'
BOMBS = {
    "br": brotli.compress(UNPACKED, quality=5),
    "gzip": gzip.compress(UNPACKED),
    "deflate": zlib.compress(UNPACKED),
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(100),
    "identity, gzip": gzip.compress(UNPACKED),
    "GZIP": gzip.compress(UNPACKED),
}
LOOPBACK = (ip_network("127.0.0.0/8"),)


class Web:
    """Answers every call with the same; what it was asked to send in return is kept."""

    def __init__(self) -> None:
        self.url = ""
        self.heads: list[str] = []
        self.answer: Callable[[str], bytes] = lambda path: b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One call, and the end of the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        writer.write(self.answer(head.split(" ")[1]))
        try:
            await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """As it goes over the wire."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """A server on the loopback."""
    web = Web()
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0)
    web.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield web


Call = Callable[[str], Awaitable[Any]]


def of_worker(calling: Callable[[HordeApi, str], Awaitable[Any]]) -> Call:
    """A call of the worker's."""

    async def call(url: str) -> Any:
        api = HordeApi(load_settings(None, None, {"horde_url": url}))
        try:
            return await calling(api, url)
        finally:
            await api.close()

    return call


def of_client(calling: Callable[[Transport, str], Awaitable[Any]]) -> Call:
    """A call of the client's."""

    async def call(url: str) -> Any:
        async with Transport(url, "key", "test:1:nobody") as transport:
            return await calling(transport, url)

    return call


def of_engine(calling: Callable[[Server], Any]) -> Call:
    """A call of a worker's to an engine that is a server."""

    async def call(url: str) -> Any:
        return await asyncio.to_thread(calling, Server("Engine", url))

    return call


async def of_owner(url: str) -> Any:
    async with OwnerCalls(load_settings(None, None, {"horde_url": url})) as calls:
        return await calls.account()


async def of_adapters(url: str) -> Any:
    fetcher = WorkerFetcher(["127.0.0.1"], 30, networks=LOOPBACK, schemes=("http",))
    return await fetcher.get(url, 64 << 20)


async def events(transport: Transport, url: str) -> None:
    async with aclosing(transport.events("generate/events/1", "")) as heard:
        async for _ in heard:
            pass


CALLERS: dict[str, Call] = {
    "worker pops": of_worker(lambda api, url: api.pop("generate/pop", msgspec.Struct(), 0)),
    "worker looks": of_worker(lambda api, url: api.look("status/heartbeat")),
    "worker submits": of_worker(lambda api, url: api.submit("submit", msgspec.Struct())),
    "worker downloads": of_worker(lambda api, url: api.get(f"{url}/a", 64 << 20, 30)),
    "worker uploads": of_worker(lambda api, url: api.put(f"{url}/a", b"picture")),
    "worker fetches an adapter": of_adapters,
    "worker's owner calls": of_owner,
    "engine is asked": of_engine(lambda engine: engine.get("/")),
    "engine gives a file": of_engine(lambda engine: engine.file("/")),
    "engine streams": of_engine(
        lambda engine: engine.stream("/", {}, lambda line: False, lambda: None)
    ),
    "client calls": of_client(lambda transport, url: transport.call(dict, "GET", "find_user")),
    "client downloads": of_client(lambda transport, url: transport.download(f"{url}/a")),
    "client watches": of_client(events),
    "server fetches": lambda url: ServerFetcher(LOOPBACK, bytes_max=64 << 20).get(url),
}


@pytest.mark.parametrize("coding", BOMBS)
@pytest.mark.parametrize("caller", CALLERS)
async def test_what_comes_packed_is_refused_by_every_caller(
    web: Web, caller: str, coding: str
) -> None:
    kind = "text/event-stream" if caller == "client watches" else "application/json"
    head = f"Content-Encoding: {coding}", f"Content-Type: {kind}"
    web.answer = lambda path: answer(BOMBS[coding], *head)
    with pytest.raises(Exception, match="pack") as told:
        await CALLERS[caller](web.url)
    assert not isinstance(told.value, httpx.HTTPError)
    (said,) = web.heads
    (asked,) = [line for line in said.split("\r\n") if line.lower().startswith("accept-encoding")]
    assert asked.lower() == "accept-encoding: identity"


@pytest.mark.parametrize("blocking", [False, True])
async def test_more_than_the_bound_is_not_read(web: Web, blocking: bool) -> None:
    web.answer = lambda path: answer(bytes(1000))
    for bytes_max, fits in ((999, False), (1000, True)):

        async def call(bytes_max: int = bytes_max) -> bytes:
            if not blocking:
                async with bounded_client(bytes_max) as client:
                    return (await client.get(web.url)).content
            with bounded_blocking_client(bytes_max) as client:
                return (await asyncio.to_thread(client.get, web.url)).content

        if fits:
            assert await call() == bytes(1000)
        else:
            with pytest.raises(AnswerRefused, match="more than 999 bytes"):
                await call()


@given(
    st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]))
    | st.from_regex(r"[0-9]+", fullmatch=True)
)
@example("²").via("a digit that is no number")
@example("9" * 5000).via("more than a float holds")
@example("nan").via("no number to sleep for")
@example("Sun, 22 Nov 99999999999 00:00:00 GMT").via("a year that no clock knows")
@example("Fri, 31 Dec 9999 23:59:59 -2359").via("after the last date")
@example("Mon, 01 Jan 0001 00:00:00 +2359").via("before the first date")
def test_a_wait_that_somebody_asks_for_is_bounded_or_none(text: str) -> None:
    told = httpx.Response(429, headers={b"Retry-After": text.encode("latin-1")})
    seconds = retry_after_seconds(told, 60.0)
    assert seconds is None or 0 <= seconds <= 60


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 2.5 ", 2.5),
        ("61", 60.0),
        ("Fri, 31 Dec 9998 23:59:59 GMT", 60.0),
        ("Fri, 31 Dec 9998 23:59:59 -0000", 60.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("", None),
        ("soon", None),
    ],
)
def test_a_wait_is_told_in_seconds_or_as_a_date(text: str, seconds: float | None) -> None:
    told = httpx.Response(503, headers={"Retry-After": text})
    assert retry_after_seconds(told, 60.0) == seconds


def test_an_answer_that_says_nothing_of_a_wait_asks_for_none() -> None:
    assert retry_after_seconds(httpx.Response(503), 60.0) is None


async def test_a_packed_answer_of_the_horde_does_not_count_as_its_absence(web: Web) -> None:
    web.answer = lambda path: answer(BOMBS["gzip"], "Content-Encoding: gzip")
    told: list[Any] = []
    api = HordeApi(load_settings(None, None, {"horde_url": web.url}), told.append)
    try:
        with pytest.raises(Away, match="packed") as away:
            await api.introduce()
        assert not isinstance(away.value, Unreached)
        assert told == []
    finally:
        await api.close()


async def test_what_a_redirect_says_is_bounded_too(web: Web) -> None:
    away = ("Location: /there", "Content-Encoding: gzip")
    web.answer = lambda path: answer(BOMBS["gzip"], *away, status="302 Found")
    async with bounded_client(follow_redirects=True) as client:
        with pytest.raises(AnswerRefused, match="packed"):
            await client.get(web.url)
    web.answer = lambda path: answer(bytes(1000), "Location: /there", status="302 Found")
    async with bounded_client(100, follow_redirects=True) as client:
        with pytest.raises(AnswerRefused, match="more than 100 bytes"):
            await client.get(web.url)
