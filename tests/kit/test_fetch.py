# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is fetched from where, and what is not."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from certificates import Certificate
from kit.web import BODY, OUTSIDE, Names, Web, redirect, response

from openhorde.server.kit.fetch import Fetcher, FetchRefused, SystemResolver


@pytest_asyncio.fixture
async def web() -> AsyncIterator[Web]:
    web = Web()
    async with web.open():
        yield web


async def refusal(url: str, fetcher: Fetcher | None = None) -> str:
    with pytest.raises(FetchRefused) as refused:
        await (fetcher or Fetcher(OUTSIDE)).get(url)
    return refused.value.reason


async def test_fetches_from_an_allowed_network(web: Web) -> None:
    web.answers["/a%20b?c=d"] = response()
    assert await Fetcher(OUTSIDE).get(f"http://127.0.0.1:{web.port}/a b?c=d#part") == BODY
    (request,) = web.requests
    assert f"host: 127.0.0.1:{web.port}".encode() in request.lower()
    assert b"accept-encoding: identity" in request.lower()


async def test_fetches_by_name_and_asks_for_it_once(web: Web) -> None:
    names = Names(pictures=["127.0.0.1"])
    web.answers["/"] = response()
    fetcher = Fetcher(OUTSIDE, resolve=names)
    assert await fetcher.get(f"http://pictures:{web.port}") == BODY
    assert names.asked == ["pictures"]
    assert f"host: pictures:{web.port}".encode() in web.requests[0].lower()


async def test_fetches_by_a_name_in_ascii_dress_that_stands_for_no_other(web: Web) -> None:
    web.answers["/"] = response()
    fetcher = Fetcher(OUTSIDE, resolve=Names(**{"xn--ls8h.la": ["127.0.0.1"]}))
    assert await fetcher.get(f"HTTP://xn--ls8h.la:{web.port}") == BODY


async def test_a_name_that_changes_its_mind_gains_nothing(web: Web) -> None:
    web.answers["/"] = response()

    class Rebinding(Names):
        async def __call__(self, host: str, port: int) -> Sequence[str]:
            await super().__call__(host, port)
            return ["127.0.0.1"] if len(self.asked) == 1 else ["127.0.0.2"]

    names = Rebinding(pictures=[])
    fetcher = Fetcher(OUTSIDE, resolve=names)
    assert await fetcher.get(f"http://pictures:{web.port}/") == BODY
    assert names.asked == ["pictures"]
    assert await refusal(f"http://pictures:{web.port}/", fetcher) == "forbidden_address"


@pytest.mark.parametrize(
    "answer",
    [["127.0.0.2"], ["10.0.0.1"], ["169.254.169.254"], ["::1"], ["127.0.0.1", "192.168.0.1"]],
)
async def test_a_name_with_any_private_address_is_refused(web: Web, answer: list[str]) -> None:
    fetcher = Fetcher(OUTSIDE, resolve=Names(pictures=answer))
    assert await refusal(f"http://pictures:{web.port}/", fetcher) == "forbidden_address"
    assert not web.requests


async def test_the_second_address_is_tried_when_the_first_is_dead(web: Web) -> None:
    web.answers["/"] = response()
    networks = [ip_network("127.0.0.0/24")]
    fetcher = Fetcher(networks, resolve=Names(pictures=["127.0.0.9", "127.0.0.1"]))
    assert await fetcher.get(f"http://pictures:{web.port}/") == BODY


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "localhost"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "127.0.0.1."),
        *("[::]", "0.0.0.0", "169.254.169.254", "[fe80::1]", "１２７.０.０.１"),
    ],
)
async def test_our_own_machine_is_refused_under_all_its_names(web: Web, host: str) -> None:
    reason = await refusal(f"http://{host}:{web.port}/", Fetcher())
    assert reason in ("forbidden_address", "invalid_url", "unreachable")
    assert not web.requests


async def test_dressed_loopback_is_refused_as_such(web: Web) -> None:
    for host in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"):
        assert await refusal(f"http://{host}:{web.port}/", Fetcher()) == "forbidden_address"


@pytest.mark.parametrize(
    "url",
    [
        *("", "picture.png", "ftp://example.org/a", "file:///etc/passwd", "//example.org/a"),
        *("http://", "http:///a", "http://user@example.org/", "http://user:word@example.org/"),
        *("http://example.org:0/", "http://example.org:22/", "http://example.org:6/"),
        *("http://example.org:99999/", "http://example.org:abc/", "http://example.org:-1/"),
        *("javascript:alert(1)", "data:image/png;base64,QUJD", "http://exa mple.org/"),
        *("http://example.org/\r\nx: y", "http://[::1/", "http://" + "a" * 5000, "gopher://a/"),
    ],
)
async def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    assert await refusal(url, Fetcher(resolve=Names())) == "invalid_url"


async def test_follows_redirects(web: Web) -> None:
    names = Names(pictures=["127.0.0.1"], other=["127.0.0.1"])
    web.answers["/1"] = redirect("/2")
    web.answers["/2"] = redirect(f"http://other:{web.port}/3")
    web.answers["/3"] = redirect("4?x=y")
    web.answers["/4?x=y"] = response()
    fetcher = Fetcher(OUTSIDE, resolve=names)
    assert await fetcher.get(f"http://pictures:{web.port}/1") == BODY


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://inside:{port}/", "forbidden_address"),
        ("http://127.0.0.2:{port}/", "forbidden_address"),
        ("http://[::1]:{port}/", "forbidden_address"),
        ("http://169.254.169.254/latest/meta-data", "forbidden_address"),
        ("//inside:{port}/", "forbidden_address"),
        ("file:///etc/passwd", "invalid_url"),
        ("http://user@pictures:{port}/", "invalid_url"),
        ("http://pictures:22/", "invalid_url"),
        ("http://[/", "invalid_url"),
        ("/start", "http_status"),
    ],
)
async def test_each_hop_is_checked(web: Web, location: str, reason: str) -> None:
    names = Names(pictures=["127.0.0.1"], inside=["127.0.0.2"])
    web.answers["/start"] = redirect(location.format(port=web.port))
    fetcher = Fetcher(OUTSIDE, resolve=names)
    assert await refusal(f"http://pictures:{web.port}/start", fetcher) == reason


async def test_too_large_by_its_own_word(web: Web) -> None:
    web.answers["/"] = response(b"", content_length="7001")
    fetcher = Fetcher(OUTSIDE, bytes_max=7000)
    assert await refusal(f"http://127.0.0.1:{web.port}/", fetcher) == "too_large"


async def test_the_bound_itself_is_allowed(web: Web) -> None:
    web.answers["/"] = response()
    assert await Fetcher(OUTSIDE, bytes_max=7000).get(f"http://127.0.0.1:{web.port}/") == BODY


async def test_too_large_without_saying_so(web: Web) -> None:
    web.answers["/closed"] = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(7001)
    chunks = b"1b58\r\n" + bytes(7000) + b"\r\n" + b"1\r\n0\r\n0\r\n\r\n"
    web.answers["/chunked"] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks
    fetcher = Fetcher(OUTSIDE, bytes_max=7000)
    assert await refusal(f"http://127.0.0.1:{web.port}/closed", fetcher) == "too_large"
    assert await refusal(f"http://127.0.0.1:{web.port}/chunked", fetcher) == "too_large"


async def test_an_endless_body_is_cut(web: Web) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()

    web.answers["/"] = endless
    assert await refusal(f"http://127.0.0.1:{web.port}/") == "too_large"


async def test_packed_bodies_are_not_unpacked(web: Web) -> None:
    web.answers["/"] = response(gzip.compress(bytes(10_000_000)), content_encoding="gzip")
    assert await refusal(f"http://127.0.0.1:{web.port}/") == "unreachable"


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "204 No Content", "304 Same"])
async def test_other_answers_are_refused(web: Web, status: str) -> None:
    web.answers["/"] = response(b"", status)
    assert await refusal(f"http://127.0.0.1:{web.port}/") == "http_status"


async def test_a_slow_drip_is_cut(web: Web) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.01)

    web.answers["/"] = drip
    fetcher = Fetcher(OUTSIDE, timeout_seconds=0.2)
    assert await refusal(f"http://127.0.0.1:{web.port}/", fetcher) == "timeout"


async def test_slow_headers_are_cut(web: Web) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    web.answers["/"] = drip
    fetcher = Fetcher(OUTSIDE, timeout_seconds=0.2)
    assert await refusal(f"http://127.0.0.1:{web.port}/", fetcher) == "timeout"


async def test_a_slow_resolver_is_cut() -> None:
    async def never(_host: str, _port: int) -> Sequence[str]:
        await asyncio.get_running_loop().create_future()
        return []

    fetcher = Fetcher(OUTSIDE, timeout_seconds=0.05, resolve=never)
    assert await refusal("http://pictures/", fetcher) == "timeout"


async def test_names_that_never_resolve_hold_up_nothing_else() -> None:
    ended = threading.Event()
    asked: list[str] = []

    def ask(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        if host.endswith("dead.example"):
            ended.wait()
        return [(None, None, None, None, (host, port))]

    # A domain may have only some of the threads, whatever its names, and whoever gave up waiting.
    resolver = SystemResolver(threads=8, threads_per_domain=3, ask=ask)
    names = [f"{number}.dead.example" for number in range(100)]
    waiting = [asyncio.create_task(resolver(name, 443)) for name in names]
    await asyncio.sleep(0)
    for task in waiting[:50]:
        task.cancel()
    for name in ("alive.example", "www.alive.example", "another.org", "LOCALHOST"):
        assert await asyncio.wait_for(resolver(name, 443), 60) == [name]
    assert len([name for name in asked if name.endswith("dead.example")]) <= 3
    ended.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [answer for answer in found if isinstance(answer, list)] == [[n] for n in names[50:]]
    # All that was remembered of domains is forgotten with the last question.
    assert await asyncio.wait_for(resolver("again.dead.example", 443), 60) == ["again.dead.example"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://hook.example/", "invalid_url"),
        ("ftp://hook.example/", "invalid_url"),
        ("https:///path", "invalid_url"),
        ("https://user:word@hook.example/", "invalid_url"),
        ("https://hook.example:22/", "invalid_url"),
        ("https://hook.example:99999/", "invalid_url"),
        ("https://a..b.example/", "invalid_url"),
        (f"https://{'a' * 64}.example/", "invalid_url"),
        (f"https://{'a.' * 130}example/", "invalid_url"),
        (f"https://hook.example/{'a' * 5000}", "invalid_url"),
        ("https://2130706433/", "invalid_url"),
        ("https://127.1/", "invalid_url"),
        ("https://0x7f.0.0.0x1/", "invalid_url"),
        ("https://[::1", "invalid_url"),
        ("https://127.0.0.2/", "forbidden_address"),
        ("https://10.0.0.1/", "forbidden_address"),
        ("https://169.254.169.254/", "forbidden_address"),
        ("https://[::ffff:10.0.0.1]/", "forbidden_address"),
        ("https://[fd00::1]:8443/", "forbidden_address"),
        ("https://localhost/", "forbidden_address"),
        ("https://a.LOCALHOST./", "forbidden_address"),
    ],
)
def test_what_could_never_be_posted_to_is_known_before(url: str, reason: str) -> None:
    with pytest.raises(FetchRefused) as refused:
        Fetcher([ip_network("192.168.0.0/16")]).check_post(url)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "url",
    [
        "https://hook.example/",
        "https://hook.example./path?query#part",
        "https://b\u00fccher.example:8443/",
        "https://a_b.example",
        "https://1.2.3.4/",
        "https://[2606:4700::1111]/",
        "https://192.168.7.7:9000/",
        "https://h1/",
        "https://1and1.example/",
        "https://xn--.example/",
        "https://xn--ls8h.example/",
    ],
)
def test_what_may_be_posted_to_is_not_refused(url: str) -> None:
    Fetcher([ip_network("192.168.0.0/16")]).check_post(url)


async def test_nobody_there(web: Web) -> None:
    web.answers["/garbage"] = b"SSH-2.0-OpenSSH\r\n"
    web.answers["/short"] = response(b"short", content_length="100")
    for url in ("http://127.0.0.1:1025/", "http://unknown/", "http://a..b/", "http://xn--.com/"):
        assert await refusal(url, Fetcher(OUTSIDE, resolve=Names())) in (
            "unreachable",
            "invalid_url",
        )
    assert await refusal(f"http://127.0.0.1:{web.port}/garbage") == "unreachable"
    assert await refusal(f"http://127.0.0.1:{web.port}/short") == "unreachable"


async def test_the_environments_proxy_is_not_used(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.2:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.2:1")
    web.answers["/"] = response()
    assert await Fetcher(OUTSIDE).get(f"http://127.0.0.1:{web.port}/") == BODY


async def test_tls_is_for_the_name_not_the_address(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, "pictures.example")
    shown = certificate.shown()
    asked_for: list[str | None] = []
    shown.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    web = Web()
    web.answers["/"] = response()
    resolve = Names(**{"pictures.example": ["127.0.0.1"], "wrong.example": ["127.0.0.1"]})
    trusting = certificate.trusted()
    async with web.open(shown):
        port = web.port
        fetcher = Fetcher(OUTSIDE, resolve=resolve, ssl_context=trusting)
        assert await fetcher.get(f"https://pictures.example:{port}/") == BODY
        assert await refusal(f"https://wrong.example:{port}/", fetcher) == "unreachable"
        untrusting = Fetcher(OUTSIDE, resolve=resolve)
        assert await refusal(f"https://pictures.example:{port}/", untrusting) == "unreachable"
    assert asked_for[:2] == ["pictures.example", "wrong.example"]
