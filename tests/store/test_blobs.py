# SPDX-License-Identifier: AGPL-3.0-or-later
"""A folder and a bucket behave alike, and strangers reach both through signed URLs."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from moto.server import ThreadedMotoServer

from openhorde.server.kit.clock import FixedClock, SystemClock
from openhorde.server.store.blobs import (
    BlobGrant,
    BlobRefused,
    Blobs,
    LocalBlobs,
    local_blobs,
    s3_blobs,
)

SECRET = b"a secret of the tests"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = "transient/0190-abc_1.webp"
STATUS = {"invalid_signature": 403, "expired": 403, "invalid_key": 400, "too_large": 413}

Send = Callable[[str, str, bytes], Awaitable[tuple[int, bytes]]]


class Storage(NamedTuple):
    """Blobs, and a way to send (method, URL, body) and hear (status, body)."""

    blobs: Blobs
    send: Send


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def split(url: str) -> tuple[str, dict[str, str]]:
    """The key and the query of a local URL."""
    parts = urlsplit(url)
    return parts.path.removeprefix("/blobs/"), dict(parse_qsl(parts.query))


def send_to(blobs: LocalBlobs) -> Send:
    """What our server does with a request for a blob."""

    async def send(method: str, url: str, body: bytes) -> tuple[int, bytes]:
        key, query = split(url)
        try:
            grant = blobs.verify(method, key, query, datetime.now(UTC))
            if method == "PUT":
                await blobs.receive(grant, stream(body))
                return 200, b""
        except BlobRefused as refused:
            return STATUS[refused.reason], b""
        data = await blobs.get(key)
        return (404, b"") if data is None else (200, data)

    return send


async def send_over_http(method: str, url: str, body: bytes) -> tuple[int, bytes]:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.request(method, url, content=body or None)
        return answer.status_code, answer.content


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The endpoint of an S3 that holds nothing but the bucket `horde`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = ThreadedMotoServer("127.0.0.1", port=port, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{port}"
    assert httpx.put(f"{endpoint}/horde", trust_env=False).status_code == 200
    yield endpoint
    server.stop()


def bucket(endpoint: str, public_endpoint: str | None = None) -> Blobs:
    return s3_blobs(
        "horde",
        endpoint=endpoint,
        region="us-east-1",
        access_key="key",
        secret_key="word",
        allow_http=True,
        public_endpoint=public_endpoint,
    )


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        blobs = local_blobs(tmp_path / "blobs", "https://horde.example/", SECRET, SystemClock())
        return Storage(blobs, send_to(blobs))
    return Storage(bucket(request.getfixturevalue("s3")), send_over_http)


async def keys_of(blobs: Blobs, prefix: str, before: datetime) -> list[str]:
    return sorted([key async for keys in blobs.list_older_than(prefix, before) for key in keys])


async def test_puts_gets_and_drops(storage: Storage) -> None:
    blobs = storage.blobs
    await blobs.drop([KEY])
    assert await blobs.get(KEY) is None
    assert await blobs.peek(KEY, 4) is None
    await blobs.put(KEY, b"one", "image/webp")
    await blobs.put(KEY, b"other", "image/webp")
    assert await blobs.get(KEY) == b"other"
    assert await blobs.peek(KEY, 4) == (5, b"othe")
    assert await blobs.peek("transient", 4) is None
    await blobs.put("transient/second", b"", "image/webp")
    assert await blobs.get("transient/second") == b""
    await blobs.drop(["transient/absent", KEY, "transient/second"])
    assert await blobs.peek(KEY, 4) is None
    assert await blobs.peek("transient/second", 4) is None
    await blobs.drop([])


async def test_a_copy_stays_as_it_was(storage: Storage) -> None:
    blobs, send = storage
    up = await blobs.upload_url(KEY, lifetime_seconds=60, bytes_max=10)
    assert await send("PUT", up, b"first") == (200, b"")
    await blobs.copy(KEY, "kept")
    assert await send("PUT", up, b"swapped") == (200, b"")
    assert await blobs.get("kept") == b"first"
    assert await blobs.peek("kept", 100) == (5, b"first")
    await blobs.drop([KEY])
    assert await blobs.get("kept") == b"first"
    await blobs.drop(["kept"])
    with pytest.raises(FileNotFoundError):
        await blobs.copy(KEY, "kept")


async def test_a_blob_without_content_has_a_head(storage: Storage) -> None:
    await storage.blobs.put(KEY, b"", "image/webp")
    assert await storage.blobs.peek(KEY, 12) == (0, b"")
    await storage.blobs.drop([KEY])


async def test_reads_no_more_than_asked_for(storage: Storage) -> None:
    await storage.blobs.put(KEY, bytes(100), "image/webp")
    assert await storage.blobs.get(KEY, bytes_max=100) == bytes(100)
    with pytest.raises(BlobRefused, match="too_large"):
        await storage.blobs.get(KEY, bytes_max=99)


async def test_a_stranger_uploads_and_downloads(storage: Storage) -> None:
    blobs, send = storage
    body = bytes(range(256)) * 4000
    up = await blobs.upload_url(KEY, lifetime_seconds=60, bytes_max=len(body))
    down = await blobs.download_url("transient/later", lifetime_seconds=60)
    assert (await send("GET", down, b""))[0] == 404
    assert await send("PUT", up, body) == (200, b"")
    assert await blobs.get(KEY) == body
    down = await blobs.download_url(KEY, lifetime_seconds=60)
    assert await send("GET", down, b"") == (200, body)


async def test_lists_what_is_old(storage: Storage) -> None:
    blobs = storage.blobs
    for key in ("old/a", "old/deep/b", "older", "oldest/c"):
        await blobs.put(key, b"x", "text/plain")
    tomorrow, yesterday = (datetime.now(UTC) + timedelta(days=days) for days in (1, -1))
    assert await keys_of(blobs, "old", tomorrow) == ["old/a", "old/deep/b"]
    assert await keys_of(blobs, "old", yesterday) == []
    assert await keys_of(blobs, "none", tomorrow) == []
    assert {"old/a", "older", "oldest/c"} <= set(await keys_of(blobs, "", tomorrow))
    async for keys in blobs.list_older_than("old", tomorrow):
        await blobs.drop(keys)
    assert await keys_of(blobs, "old", tomorrow) == []
    await blobs.drop(["older", "oldest/c"])


@pytest.mark.parametrize(
    "key",
    [
        *("", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/.", ".hidden", "a/.b", "-a"),
        *("a b", "a\\b", "a\n", "a%2f..", "ä", "a?b", "a#1", "~a", "a" * 501, "\0"),
    ],
)
async def test_odd_keys_are_refused(storage: Storage, key: str) -> None:
    blobs = storage.blobs
    with pytest.raises(BlobRefused, match="invalid_key"):
        await blobs.upload_url(key, lifetime_seconds=60, bytes_max=1)
    with pytest.raises(BlobRefused, match="invalid_key"):
        await blobs.download_url(key, lifetime_seconds=60)
    with pytest.raises(BlobRefused, match="invalid_key"):
        await blobs.put(key, b"", "text/plain")
    with pytest.raises(BlobRefused, match="invalid_key"):
        await blobs.get(key)
    with pytest.raises(BlobRefused, match="invalid_key"):
        await blobs.peek(key, 4)
    with pytest.raises(BlobRefused, match="invalid_key"):
        await blobs.drop([KEY, key])


async def test_the_bucket_signs_for_where_strangers_reach_it(s3: str) -> None:
    blobs = bucket(s3, "https://pictures.example")
    url = urlsplit(await blobs.upload_url(KEY, lifetime_seconds=1800, bytes_max=1))
    assert (url.scheme, url.netloc, url.path) == ("https", "pictures.example", f"/horde/{KEY}")
    query = dict(parse_qsl(url.query))
    assert query["X-Amz-Expires"] == "1800"
    assert query["X-Amz-SignedHeaders"] == "host"


async def test_the_bucket_keeps_the_content_type(s3: str) -> None:
    blobs = bucket(s3)
    await blobs.put(KEY, b"x", "image/webp")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(await blobs.download_url(KEY, lifetime_seconds=60))
    assert answer.headers["content-type"] == "image/webp"


async def test_keys_of_the_environment_are_not_mixed_in(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "another")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    url = await bucket(s3).download_url(KEY, lifetime_seconds=60)
    assert "X-Amz-Security-Token" not in url
    assert "Credential=key%2F" in url


@pytest.fixture
def local(tmp_path: Path) -> LocalBlobs:
    return local_blobs(tmp_path / "blobs", "https://horde.example/", SECRET, FixedClock(NOON))


async def test_a_local_url_says_what_it_grants(local: LocalBlobs) -> None:
    url = await local.upload_url(KEY, lifetime_seconds=60, bytes_max=10)
    assert url.startswith(f"https://horde.example/blobs/{KEY}?method=PUT&expires=")
    key, query = split(url)
    assert local.verify("PUT", key, query, NOON) == BlobGrant("PUT", KEY, 10)
    key, query = split(await local.download_url(KEY, lifetime_seconds=60))
    assert local.verify("GET", key, query, NOON) == BlobGrant("GET", KEY, 0)
    assert local.verify("HEAD", key, query, NOON) == BlobGrant("GET", KEY, 0)


async def test_a_local_url_expires(local: LocalBlobs) -> None:
    key, query = split(await local.download_url(KEY, lifetime_seconds=60))
    local.verify("GET", key, query, NOON + timedelta(seconds=59))
    with pytest.raises(BlobRefused, match="expired"):
        local.verify("GET", key, query, NOON + timedelta(seconds=60))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"},
        {"method": ""},
        {"expires": "99999999999"},
        {"expires": ""},
        {"bytes_max": "1000000"},
        {"bytes_max": "abc"},
        {"signature": ""},
        {"signature": "0" * 64},
        {"signature": "ü\ud800"},
    ],
)
async def test_a_changed_url_is_refused(local: LocalBlobs, change: dict[str, str]) -> None:
    key, query = split(await local.upload_url(KEY, lifetime_seconds=60, bytes_max=10))
    with pytest.raises(BlobRefused, match="invalid_signature"):
        local.verify("PUT", key, query | change, NOON)
    for name in change:
        with pytest.raises(BlobRefused, match="invalid_signature"):
            local.verify("PUT", key, {n: v for n, v in query.items() if n != name}, NOON)


async def test_a_url_is_for_one_method_and_key(local: LocalBlobs, tmp_path: Path) -> None:
    key, query = split(await local.upload_url(KEY, lifetime_seconds=60, bytes_max=10))
    for method in ("GET", "HEAD", "DELETE", "put"):
        with pytest.raises(BlobRefused, match="invalid_signature"):
            local.verify(method, key, query, NOON)
    with pytest.raises(BlobRefused, match="invalid_signature"):
        local.verify("PUT", KEY + "x", query, NOON)
    with pytest.raises(BlobRefused, match="invalid_key"):
        local.verify("PUT", "../" + KEY, query, NOON)
    other = local_blobs(tmp_path, "https://horde.example", SECRET + b"!", FixedClock(NOON))
    with pytest.raises(BlobRefused, match="invalid_signature"):
        other.verify("PUT", key, query, NOON)


async def test_an_upload_is_kept_whole_or_not_at_all(local: LocalBlobs, tmp_path: Path) -> None:
    grant = BlobGrant("PUT", KEY, 10)
    await local.receive(grant, stream(b"01234", b"", b"56789"))
    assert await local.get(KEY) == b"0123456789"
    with pytest.raises(BlobRefused, match="too_large"):
        await local.receive(grant, stream(b"01234", b"567890"))
    assert await local.get(KEY) == b"0123456789"

    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await local.receive(BlobGrant("PUT", "new", 10), broken())
    files = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert files == [tmp_path / "blobs" / KEY]


async def test_an_upload_stops_at_its_bound(local: LocalBlobs) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(5)

    with pytest.raises(BlobRefused, match="too_large"):
        await local.receive(BlobGrant("PUT", KEY, 10), endless())
    assert taken == 3


async def test_a_download_grant_takes_no_upload(local: LocalBlobs) -> None:
    with pytest.raises(BlobRefused, match="downloading"):
        await local.receive(BlobGrant("GET", KEY, 0), stream(b""))


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        local_blobs(tmp_path, "https://horde.example", b"short", SystemClock())
