# SPDX-License-Identifier: AGPL-3.0-or-later
"""Source pictures and results that are broken, bombs, or no pictures at all."""

import base64

import pytest
from hostile.attacks import Target, assert_refused, pop_body
from hostile.pictures import BROKEN, png, png_of_zeros, webp_that_claims

MODEL = "a model of bad pictures"
CODES = {
    "ImageValidationFailed",
    "SourceImageResolutionExceeded",
    "SourceImageSizeExceeded",
    "SourceImageUnreadable",
}
HARMLESS = {"packed text"}
"""Sound pictures with something beside them, which may as well be accepted."""


def encoded(data: bytes) -> str:
    """As base64."""
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("field", ["source_image", "source_mask"])
@pytest.mark.parametrize("name", [name for name in BROKEN if BROKEN[name]])
def test_a_bad_source_is_refused_by_its_field(target: Target, name: str, field: str) -> None:
    changes = {"source_image": encoded(png())} | {field: encoded(BROKEN[name])}
    answer = target.ask(**changes)
    if name in HARMLESS and answer.status_code == 202:
        return
    body = assert_refused(answer, 400)
    assert body["rc"] in CODES
    assert field in body["message"]


@pytest.mark.parametrize(
    "text",
    [
        "%%%",
        "=",
        "a",
        "data:image/png;base64,",
        "data:image/png,abc",
        "data:text/html;base64,PHNjcmlwdD4=",
        "data:" + "x" * 10_000,
        "file:///etc/passwd",
        "/etc/passwd",
        "ftp://example.org/a.png",
        "A" * 5_000_000,
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_base64_is_refused_by_its_field(target: Target, text: str) -> None:
    body = assert_refused(target.ask(source_image=text), 400)
    assert body["rc"] in CODES
    assert "source_image" in body["message"]


def test_too_many_pixels_are_told_apart_from_damage(target: Target) -> None:
    for data in (png_of_zeros(30_000), png_of_zeros(3200), webp_that_claims(16000, 16000)):
        answer = target.ask(source_image=encoded(data))
        assert assert_refused(answer, 400)["rc"] == "SourceImageResolutionExceeded"


@pytest.mark.parametrize("name", [name for name in BROKEN if name not in HARMLESS])
def test_a_bad_result_is_refused_and_the_job_stays_open(target: Target, name: str) -> None:
    asked = target.ask(models=[MODEL]).json()["id"]
    pop = pop_body(models=[MODEL])
    job = target.http.post("/api/v2/generate/pop", headers=target.headers, json=pop).json()
    body = {"id": job["id"], "generation": encoded(BROKEN[name]), "seed": 1}
    for _ in range(2):
        answer = target.http.post("/api/v2/generate/submit", headers=target.headers, json=body)
        assert assert_refused(answer, 400)["rc"] == "ImageValidationFailed"
    assert target.http.get(f"/api/v2/generate/check/{asked}").json()["processing"] == 1
    body["generation"] = encoded(png())
    answer = target.http.post("/api/v2/generate/submit", headers=target.headers, json=body)
    assert answer.json()["reward"] > 0


def test_a_refused_source_leaves_nothing_behind(target: Target) -> None:
    balance = target.http.get("/api/v2/find_user", headers=target.headers).json()
    for name in ("text", "a bomb"):
        target.ask(source_image=encoded(png()), source_mask=encoded(BROKEN[name]))
    after = target.http.get("/api/v2/find_user", headers=target.headers).json()
    assert after["active_generations"] == balance["active_generations"]
