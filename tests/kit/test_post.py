# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is posted to where, and what is not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from certificates import Certificate
from kit.web import OUTSIDE, Names, Web, response

from openhorde.server.kit.fetch import Fetcher, FetchRefused


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[tuple[Web, Fetcher]]:
    """A web at https://hook.example:PORT, and a fetcher that trusts it and finds it."""
    certificate = Certificate(tmp_path, "hook.example")
    resolve = Names(**{"hook.example": ["127.0.0.1"], "inside.example": ["127.0.0.2"]})
    web = Web()
    async with web.open(certificate.shown()):
        yield web, Fetcher(OUTSIDE, resolve=resolve, ssl_context=certificate.trusted())


async def posting_refused(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(FetchRefused) as refused:
        await fetcher.post(url, b"body", {})
    return refused.value.reason


async def test_posts_what_it_is_given(receiver: tuple[Web, Fetcher]) -> None:
    web, fetcher = receiver
    web.answers["/a?b=c"] = response(b"", "503 Busy", retry_after="7")
    web.body_bytes = 4
    posted = await fetcher.post(f"https://hook.example:{web.port}/a?b=c", b"body", {"X-Y": "z"})
    assert (posted.status, posted.retry_after) == (503, "7")
    (request,) = web.requests
    assert request.startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\nbody")
    for line in (f"host: hook.example:{web.port}", "content-length: 4", "x-y: z"):
        assert f"\r\n{line}\r\n".encode() in request.lower()


async def test_a_post_goes_nowhere_else(receiver: tuple[Web, Fetcher]) -> None:
    web, fetcher = receiver
    web.answers["/"] = response(b"", "307 There", location=f"https://hook.example:{web.port}/2")
    posted = await fetcher.post(f"https://hook.example:{web.port}/", b"body", {})
    assert posted.status == 307
    assert len(web.requests) == 1


async def test_the_answer_to_a_post_is_not_read(receiver: tuple[Web, Fetcher]) -> None:
    web, fetcher = receiver
    left = asyncio.Event()

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(bytes(65536))
                await writer.drain()
        finally:
            left.set()

    web.answers["/"] = endless
    assert (await fetcher.post(f"https://hook.example:{web.port}/", b"", {})).status == 200
    await asyncio.wait_for(left.wait(), 10)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://inside.example:{port}/", "forbidden_address"),
        ("https://127.0.0.2:{port}/", "forbidden_address"),
        ("https://[::1]:{port}/", "forbidden_address"),
        ("http://hook.example:{port}/", "invalid_url"),
        ("https://hook.example:22/", "invalid_url"),
        ("https://me@hook.example:{port}/", "invalid_url"),
        # The right machine under a name that its certificate does not have.
        ("https://127.0.0.1:{port}/", "unreachable"),
        ("https://unknown.example:{port}/", "unreachable"),
    ],
)
async def test_where_nothing_is_posted(
    receiver: tuple[Web, Fetcher], url: str, reason: str
) -> None:
    web, fetcher = receiver
    assert await posting_refused(fetcher, url.format(port=web.port)) == reason
    assert not web.requests


async def test_a_post_that_is_not_answered_is_cut(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, "hook.example")
    heard, ended = asyncio.Event(), asyncio.Event()

    async def silent(_writer: asyncio.StreamWriter) -> None:
        heard.set()
        await ended.wait()

    web = Web()
    web.answers["/"] = silent
    async with web.open(certificate.shown()):
        fetcher = Fetcher(
            OUTSIDE,
            timeout_seconds=0.3,
            resolve=Names(**{"hook.example": ["127.0.0.1"]}),
            ssl_context=certificate.trusted(),
        )
        assert await posting_refused(fetcher, f"https://hook.example:{web.port}/") == "timeout"
        assert heard.is_set()
        ended.set()
