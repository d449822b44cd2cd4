# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures and results of alchemy that nobody should take."""

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hostile.attacks import Target, assert_refused
from hostile.pictures import BROKEN, png
from hostile.test_pictures import CODES, HARMLESS, encoded

DEEP: Any = 1
for _ in range(30):
    DEEP = {"x": DEEP}


def ask(target: Target, source: str, form: str = "palette") -> httpx.Response:
    """What the horde says to a request."""
    body = {"source_image": source, "forms": [{"name": form}]}
    return target.http.post("/api/v2/interrogate/async", headers=target.headers, json=body)


def large_png(width: int, height: int) -> bytes:
    """Some kilobytes that are 63 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    lines = zlib.compress((b"\0" + b"\xaa" * (width // 8)) * height, 9)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            chunk(b"IDAT", lines),
            chunk(b"IEND", b""),
        )
    )


@pytest.mark.parametrize("name", [name for name in BROKEN if BROKEN[name]])
def test_a_bad_source_is_refused_by_its_field(target: Target, name: str) -> None:
    answer = ask(target, encoded(BROKEN[name]))
    if name in HARMLESS and answer.status_code == 202:
        return
    body = assert_refused(answer, 400)
    assert body["rc"] in CODES
    assert "source_image" in body["message"]


def test_many_large_pictures_at_once_leave_the_others_in_peace(target: Target) -> None:
    large = encoded(large_png(8192, 7680))
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(ask, target, large) for _ in range(4)]
        target.assert_well()
        for answer in answers:
            assert answer.result().status_code == 202
    pop = {"name": "Mallory's alchemist", "forms": ["palette"], "amount": 4, "max_tiles": 256}
    popped = target.http.post("/api/v2/interrogate/pop", headers=target.headers, json=pop).json()
    assert len(popped["forms"]) == 4
    source = target.http.get(popped["forms"][0]["source_image"])
    assert (source.status_code, source.headers["content-type"]) == (200, "image/png")
    for form in popped["forms"]:
        assert submit(target, form["id"], {"palette": []}).status_code == 200


def submit(target: Target, job_id: str, result: Any) -> httpx.Response:
    """What the horde says to a result."""
    body = {"id": job_id, "result": result}
    return target.http.post("/api/v2/interrogate/submit", headers=target.headers, json=body)


def test_a_result_that_is_none_is_refused_and_the_form_stays_open(target: Target) -> None:
    asked = ask(target, encoded(png())).json()["id"]
    pop = {"name": "Mallory's alchemist", "forms": ["palette"]}
    popped = target.http.post("/api/v2/interrogate/pop", headers=target.headers, json=pop).json()
    job_id = popped["forms"][0]["id"]
    for junk in (
        {"palette": DEEP},
        {"palette": "x" * (1 << 20)},
        {"palette": list(range(100_000))},
        {"palette": "\0"},
        '{"palette": "\\u0000"}',
        '{"palette": NaN}',
        '{"palette": 1e999}',
        "{" * 10_000,
        "\ud7ff",
        {},
    ):
        assert_refused(submit(target, job_id, junk), 400)
    shown = target.http.get(f"/api/v2/interrogate/status/{asked}").json()
    assert shown["forms"] == [{"form": "palette", "state": "processing"}]
    odd = {"palette": {"": [10**300, -0.0, "\u202e", None, True]}}
    assert submit(target, job_id, odd).status_code == 200
    shown = target.http.get(f"/api/v2/interrogate/status/{asked}").json()
    assert shown["forms"][0]["state"] == "done"
