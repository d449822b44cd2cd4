# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ids and keys that try to leave their place; links to pictures that were tampered with."""

import re
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import pytest
from hostile.attacks import Target, assert_refused, pop_body
from hostile.pictures import png
from processes import RunningServer

from openhorde.server.kit.clock import SystemClock
from openhorde.server.kit.postgres import start_embedded
from openhorde.server.store.blobs import local_blobs

MODEL = "a model of links"
NAMES = [
    "..",
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "%00",
    "a%00b",
    "x%ff%fe",
    "%c0%ae%c0%ae%2f",
    "%ed%a0%80",
    "%",
    "%zz",
    "%2500",
    "a%0d%0aSet-Cookie:%20x=1",
    "%20",
    "'%20or%201=1--",
    "{id}",
    "00000000-0000-0000-0000-000000000000",
    "{00000000-0000-0000-0000-000000000000}",
    "urn:uuid:00000000-0000-0000-0000-000000000000",
    "9" * 5000,
    "2147483648",
    "-1",
    "1e5",
    "\u0663",
]
QUERIES = [
    "page=0",
    "page=-1",
    "page=x",
    "page=1e400",
    "page=%ff",
    "page=2147483647",
    "page=9" + "9" * 300,
    "page=1&" * 200,
    "sort=%00",
    "sort[]=x",
    "page",
    "=",
    "&" * 500,
]
PLACES = [
    ("GET", "/api/v2/generate/check/{}"),
    ("GET", "/api/v2/generate/status/{}"),
    ("DELETE", "/api/v2/generate/status/{}"),
    ("GET", "/api/v2/users/{}"),
    ("GET", "/api/v2/workers/{}"),
    ("GET", "/api/v2/workers/name/{}"),
    ("PUT", "/api/v2/workers/{}"),
    ("DELETE", "/api/v2/workers/{}"),
    ("GET", "/blobs/{}"),
    ("PUT", "/blobs/{}"),
    ("GET", "/api/{}"),
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:40])
@pytest.mark.parametrize(("method", "place"), PLACES)
def test_an_odd_name_leads_nowhere(target: Target, method: str, place: str, name: str) -> None:
    path = place.format(name)
    said = f"{method} {path} HTTP/1.1\r\nHost: x\r\napikey: {target.key}\r\nConnection: close\r\n"
    answer = target.shout(f"{said}Content-Length: 2\r\n\r\n{{}}".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1.1 4\d\d ", head), answer[:300]
    assert b"set-cookie" not in head.lower()
    assert b"root:" not in body


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:40])
def test_an_odd_model_is_served_by_nobody(target: Target, name: str) -> None:
    answer = target.http.get(f"/api/v2/status/models/{name}")
    assert answer.status_code < 500
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:30])
def test_odd_queries_are_refused_or_harmless(target: Target, query: str) -> None:
    for path in ("/api/v2/users", "/api/v2/workers", "/api/v2/status/models"):
        answer = target.http.get(f"{path}?{query}")
        if answer.status_code != 200:
            assert_refused(answer, 400)


class Links:
    """The upload and download links of a job in hand, whose picture is uploaded."""

    def __init__(self, target: Target) -> None:
        request_id = target.ask(models=[MODEL]).json()["id"]
        pop = pop_body(models=[MODEL])
        job = target.http.post("/api/v2/generate/pop", headers=target.headers, json=pop).json()
        self.upload: str = job["r2_upload"]
        assert target.http.put(self.upload, content=png()).status_code == 200
        self.submit = {"id": job["id"], "generation": "R2", "seed": 1}
        self.status = f"/api/v2/generate/status/{request_id}"

    def download(self, target: Target) -> str:
        """Hand the job in; where its picture is."""
        target.http.post("/api/v2/generate/submit", headers=target.headers, json=self.submit)
        return str(target.http.get(self.status).json()["generations"][0]["img"])


def changed(link: str, **parts: str) -> str:
    """The link with other values in its query."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    return str(httpx.URL(link.partition("?")[0], params=query | parts))


@pytest.mark.parametrize(
    "parts",
    [
        {"expires": "99999999999"},
        {"expires": "9" * 400},
        {"expires": "nan"},
        {"bytes_max": "999999999"},
        {"bytes_max": "-1"},
        {"method": "GET"},
        {"method": "DELETE"},
        {"signature": ""},
        {"signature": "0" * 64},
        {"signature": "\u00e9" * 64},
        {"signature": "\ud7ff\0"},
    ],
    ids=str,
)
def test_a_link_that_was_tampered_with_does_not_work(target: Target, parts: dict[str, str]) -> None:
    links = Links(target)
    answer = target.http.put(changed(links.upload, **parts), content=png())
    assert_refused(answer, 403)
    assert_refused(target.http.put(links.upload.partition("?")[0], content=png()), 403)
    if "method" not in parts:
        download = links.download(target)
        assert_refused(target.http.get(changed(download, **parts)), 403)


def test_a_link_leads_to_its_own_picture_only(target: Target) -> None:
    one, two = Links(target), Links(target)
    keys = [urlsplit(links.upload).path for links in (one, two)]
    swapped = one.upload.replace(keys[0], keys[1])
    assert_refused(target.http.put(swapped, content=png()), 403)
    for key in (keys[0] + "/", keys[0] + "/..", "/blobs/x/.." + keys[0].removeprefix("/blobs")):
        answer = target.http.put(one.upload.replace(keys[0], key), content=png())
        assert answer.status_code in (200, 403, 404)


def test_a_link_works_in_one_direction(target: Target) -> None:
    links = Links(target)
    assert target.http.put(links.upload, content=png(color="blue")).status_code == 200
    assert_refused(target.http.get(links.upload), 403)
    download = links.download(target)
    assert_refused(target.http.put(download, content=png(color="red")), 403)
    assert target.http.get(download).content == png(color="blue")
    for method in ("POST", "PATCH", "DELETE"):
        assert_refused(target.http.request(method, links.upload), 405)


def test_an_upload_may_be_repeated_but_not_exceed_its_size(target: Target) -> None:
    links = Links(target)
    for color in ("red", "green"):
        assert target.http.put(links.upload, content=png(color=color)).status_code == 200
    limit = int(parse_qs(urlsplit(links.upload).query)["bytes_max"][0])
    path = links.upload.removeprefix(str(target.http.base_url)).encode()
    head = b"PUT /" + path.lstrip(b"/") + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b"x" * (1 << 20))
    answer = target.shout(head, *[chunk] * (limit // (1 << 20) + 2), b"0\r\n\r\n")
    assert b" 413 " in answer.splitlines()[0]
    assert target.http.get(links.download(target)).content == png(color="green")


def test_what_was_uploaded_never_runs_as_a_page(target: Target) -> None:
    links = Links(target)
    page = b"RIFF\0\0\0\0WEBP<script>alert(1)</script>"
    assert target.http.put(links.upload, content=page).status_code == 200
    answer = target.http.get(links.download(target))
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


async def test_a_link_that_has_expired_does_not_work(target: Target, server: RunningServer) -> None:
    expired, good = [await signed(server, seconds) for seconds in (0, 60)]
    assert "expired" in assert_refused(target.http.get(expired), 403)["message"]
    assert_refused(target.http.get(good), 404)


async def signed(server: RunningServer, lifetime_seconds: int) -> str:
    """A link to no picture, signed with the server's own secret."""
    embedded = await start_embedded(server.data / "postgres")
    connection = await asyncpg.connect(embedded.dsn)
    try:
        secret = await connection.fetchval("select value from secrets where name = 'blob-links'")
    finally:
        await connection.close()
        await embedded.stop()
    blobs = local_blobs(server.data / "pictures", server.url, secret, SystemClock())
    return await blobs.download_url("nothing.webp", lifetime_seconds=lifetime_seconds)
