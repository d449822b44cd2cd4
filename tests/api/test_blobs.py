# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures through signed URLs of our own."""

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from cast import AGENT, picture_bytes

from openhorde.server.actions.horde import Horde
from openhorde.server.api.app import create_app
from openhorde.server.store.blobs import S3Blobs

KEY = "jobs/7.webp"


@pytest.fixture
async def upload(horde: Horde) -> str:
    """A URL to upload ten bytes to."""
    return await horde.blobs.upload_url(KEY, lifetime_seconds=60, bytes_max=10)


@pytest.fixture
async def download(horde: Horde) -> str:
    """A URL to fetch the same from."""
    return await horde.blobs.download_url(KEY, lifetime_seconds=60)


async def test_up_and_down(http: httpx.AsyncClient, upload: str, download: str) -> None:
    assert (await http.get(download)).status_code == 404
    put = await http.put(upload, content=b"picture")
    assert put.status_code == 200
    got = await http.get(download)
    assert (got.status_code, got.content) == (200, b"picture")
    assert got.headers["content-type"] == "image/webp"
    assert got.headers["access-control-allow-origin"] == "*"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in got.headers["content-security-policy"]
    head = await http.head(download)
    assert (head.status_code, head.content) == (200, b"")


async def test_too_much_is_refused(http: httpx.AsyncClient, upload: str, download: str) -> None:
    answer = await http.put(upload, content=b"x" * 11)
    assert answer.status_code == 413
    assert "10 bytes" in answer.json()["message"]
    assert (await http.get(download)).status_code == 404


async def test_a_url_is_for_what_it_was_given_for(
    http: httpx.AsyncClient, upload: str, download: str
) -> None:
    for method, url in (
        ("GET", upload),
        ("PUT", download),
        ("PUT", upload.replace("7.webp", "8.webp")),
        ("PUT", upload.replace("bytes_max=10", "bytes_max=99")),
        ("PUT", upload.partition("?")[0]),
    ):
        answer = await http.request(method, url, content=b"x")
        assert answer.status_code == 403, (method, url)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "message" in answer.json()


async def test_strange_keys_are_not_there(http: httpx.AsyncClient) -> None:
    for key in ("..%2f..%2fetc%2fpasswd", "%00", "a%20b", "a//b"):
        assert (await http.get(f"/blobs/{key}")).status_code == 404


async def test_pictures_that_are_kept_elsewhere(horde: Horde, calling: Any) -> None:
    elsewhere = replace(horde, blobs=Mock(spec=S3Blobs))
    async with calling(create_app(elsewhere)) as http:
        assert (await http.get("/blobs/a.webp")).status_code == 404


async def test_preflight(http: httpx.AsyncClient, upload: str) -> None:
    answer = await http.options(upload)
    assert answer.status_code == 200
    assert "PUT" in answer.headers["access-control-allow-methods"]


async def test_an_upload_link_ends_with_its_job(http: httpx.AsyncClient, join: Any) -> None:
    alice, bob = await join("Alice"), await join("Bob")
    body = {"prompt": "a red circle", "params": {"width": 64, "height": 64, "steps": 1}}
    asked = await http.post("/api/v2/generate/async", headers=alice.headers, json=body)
    pop = {"name": "Bob's machine", "models": ["stable_diffusion"], "bridge_agent": AGENT}
    job = (await http.post("/api/v2/generate/pop", headers=bob.headers, json=pop)).json()
    result = {"id": job["id"], "generation": "R2", "seed": 1}
    submit = "/api/v2/generate/submit"
    early = await http.post(submit, headers=bob.headers, json=result)
    assert (early.status_code, early.json()["rc"]) == (400, "ImageValidationFailed")
    assert "upload link" in early.json()["message"]
    for color in ("red", "green"):
        put = await http.put(job["r2_upload"], content=picture_bytes(color=color))
        assert put.status_code == 200
    assert (await http.post(submit, headers=bob.headers, json=result)).status_code == 200
    late = await http.put(job["r2_upload"], content=picture_bytes(color="blue"))
    assert late.status_code == 403
    assert "handed in" in late.json()["message"]
    status = (await http.get(f"/api/v2/generate/status/{asked.json()['id']}")).json()
    drawn = await http.get(status["generations"][0]["img"])
    assert drawn.content == picture_bytes(color="green")
