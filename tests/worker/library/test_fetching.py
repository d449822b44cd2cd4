# SPDX-License-Identifier: AGPL-3.0-or-later
"""Files of strangers: from listed hosts only, never from inside, within their bounds, whole."""

import hashlib
import ipaddress
import os
from pathlib import Path
from typing import Any

import pytest

from openhorde.worker.library.fetching import Fetcher, NotFetched, ask_system


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_a_file_is_kept_whole(
    files: Any, fetcher: Any, weights: bytes, tmp_path: Path
) -> None:
    files.files = {"a": weights, "streamed": weights}
    for path in ("a", "streamed"):
        kept = tmp_path / "new" / f"{path}.safetensors"
        await fetcher().save(files.url(path), kept, len(weights), sha256(weights).upper())
        assert kept.read_bytes() == weights
    assert files.asked == ["files.test/a", "files.test/streamed"]
    assert len(os.listdir(tmp_path / "new")) == 2


@pytest.mark.parametrize("path", ["a", "streamed"])
async def test_a_file_that_is_larger_than_allowed_leaves_nothing(
    files: Any, fetcher: Any, weights: bytes, tmp_path: Path, path: str
) -> None:
    files.files[path] = weights
    bytes_max = len(weights) - 1
    with pytest.raises(NotFetched, match=str(bytes_max)):
        await fetcher().save(files.url(path), tmp_path / "x", bytes_max, sha256(weights))
    assert os.listdir(tmp_path) == []


async def test_another_hash_leaves_nothing(
    files: Any, fetcher: Any, weights: bytes, tmp_path: Path
) -> None:
    files.files["a"] = weights
    with pytest.raises(NotFetched, match="SHA256"):
        await fetcher().save(files.url("a"), tmp_path / "x", 10**6, "0" * 64)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"short", b"\x80\x04\x95pickle", (10**12).to_bytes(8, "little") + b"{}", b"\x02" + b"[]"],
)
async def test_what_is_no_safetensors_file_leaves_nothing(
    files: Any, fetcher: Any, tmp_path: Path, content: bytes
) -> None:
    files.files["a"] = content
    with pytest.raises(NotFetched, match="not a safetensors file"):
        await fetcher().save(files.url("a"), tmp_path / "x", 10**6, sha256(content))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("host", "listed", "allowed"),
    [
        ("files.test", ["files.test"], True),
        ("FILES.test", ["files.test"], True),
        ("deep.files.test", [".files.test"], True),
        ("xn--ls8h.test", ["xn--ls8h.test"], True),
        ("xn--.test", ["files.test"], False),
        ("files.test", [".files.test"], False),
        ("deep.files.test", ["files.test"], False),
        ("evilfiles.test", [".files.test"], False),
        ("files.test.evil", ["files.test"], False),
        ("127.0.0.1", ["files.test"], False),
    ],
)
async def test_only_listed_hosts_are_asked(
    files: Any, fetcher: Any, host: str, listed: list[str], allowed: bool
) -> None:
    files.files["a"] = b"content"
    if allowed:
        assert await fetcher(*listed).get(files.url("a", host), 100) == b"content"
        return
    with pytest.raises(NotFetched, match="download_hosts"):
        await fetcher(*listed).get(files.url("a", host), 100)
    assert files.asked == []


async def test_a_redirect_is_followed_to_listed_hosts_only(files: Any, fetcher: Any) -> None:
    files.files["a"] = b"content"
    files.redirects = {
        "near": files.url("a", "other.test"),
        "far": files.url("a", "elsewhere.test"),
        "beside": "/a",
        "round": files.url("round"),
    }
    both = fetcher("files.test", "other.test")
    assert await both.get(files.url("near"), 100) == b"content"
    assert await both.get(files.url("beside"), 100) == b"content"
    with pytest.raises(NotFetched, match=r"elsewhere\.test is not in download_hosts"):
        await both.get(files.url("far"), 100)
    with pytest.raises(NotFetched, match="more than 3 redirects"):
        await both.get(files.url("round"), 100)
    assert "elsewhere.test/a" not in files.asked


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "::1",
        "fe80::1",
        "::ffff:10.0.0.1",
    ],
)
async def test_a_name_that_leads_inside_is_not_followed(files: Any, address: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.216.34", address]

    outside = Fetcher(["files.test"], 10.0, schemes=("http",), resolve=resolve)
    with pytest.raises(NotFetched, match="not public"):
        await outside.get(files.url("a"), 100)
    assert files.asked == []


async def test_only_https_is_spoken_unless_told_otherwise(files: Any, fetcher: Any) -> None:
    with pytest.raises(NotFetched, match="only https"):
        await fetcher(schemes=("https",)).get(files.url("a"), 100)
    with pytest.raises(NotFetched, match="only https"):
        await fetcher(schemes=("https",)).get("file:///etc/passwd", 100)
    with pytest.raises(NotFetched, match="user name"):
        await fetcher().get("http://me:secret@files.test/a", 100)
    assert files.asked == []


async def test_what_cannot_be_had_is_told(files: Any, fetcher: Any) -> None:
    with pytest.raises(NotFetched, match="answers 404"):
        await fetcher().get(files.url("absent"), 100)
    files.files["packed"] = b"content"
    with pytest.raises(NotFetched, match="packed"):
        await fetcher().get(files.url("packed"), 100)

    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(NotFetched, match="no address"):
        await fetcher(resolve=unknown).get(files.url("a"), 100)
    with pytest.raises(NotFetched):
        await fetcher(networks=[ipaddress.ip_network("127.0.0.0/8")]).get(
            "http://files.test:1/a", 100
        )


async def test_the_system_knows_itself() -> None:
    assert set(await ask_system("localhost", 80)) <= {"127.0.0.1", "::1"}
