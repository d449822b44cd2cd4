# SPDX-License-Identifier: AGPL-3.0-or-later
"""Requests for texts and texts handed in that are wrong in every way that we could think of."""

import json
from typing import Any
from uuid import uuid4

import pytest
from hostile.attacks import Target, assert_field_named, assert_refused

ASK = "/api/v2/generate/text/async"
POP = "/api/v2/generate/text/pop"
SUBMIT = "/api/v2/generate/text/submit"
NOBODY = "00000000-0000-0000-0000-000000000000"
MEBI = 1024 * 1024


def send(target: Target, path: str, body: dict[str, Any]) -> Any:
    """Send it as JSON."""
    return target.send(path, json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"prompt": "\xff"}',
        b'{"prompt": "x", "params": {"temperature": NaN}}',
        b'{"prompt": "x", "params": {"temperature": 1e400}}',
        b'{"id": "x", "generation": "\\ud800"}',
        b'{"name": "x", "models": "y"}',
        b'{"prompt":' * 10_000,
    ],
    ids=lambda body: repr(body[:40]),
)
@pytest.mark.parametrize("path", [ASK, POP, SUBMIT])
def test_what_cannot_be_read_is_refused(target: Target, path: str, body: bytes) -> None:
    assert_refused(target.send(path, body), 400, 404)


@pytest.mark.parametrize("number", [2**31, 2**63, 2**64, 2**200, -1, 0.5, "64", [], {}])
@pytest.mark.parametrize("field", ["max_length", "max_context_length", "n", "top_k"])
def test_numbers_out_of_bounds_name_their_field(target: Target, field: str, number: Any) -> None:
    answer = send(target, ASK, {"prompt": "x", "params": {field: number}})
    assert_field_named(answer, field)


@pytest.mark.parametrize(
    "order", [[2**70] * 8, ["a"] * 7, [None] * 7, [0.5] * 7, [[]] * 7, "0123456", 7]
)
def test_an_order_of_samplers_that_is_none_is_refused(target: Target, order: Any) -> None:
    answer = send(target, ASK, {"prompt": "x", "params": {"sampler_order": order}})
    assert_field_named(answer, "sampler_order")


def test_a_prompt_of_megabytes_is_taken_up_to_its_bound(target: Target) -> None:
    taken = send(target, ASK, {"prompt": "x" * (10 * MEBI), "dry_run": True})
    assert taken.status_code == 200, taken.text
    refused = send(target, ASK, {"prompt": "x" * (10 * MEBI + 1), "dry_run": True})
    assert_field_named(refused, "prompt")
    too_large = send(target, ASK, {"prompt": "x" * (13 * MEBI)})
    assert_refused(too_large, 413)


def test_a_text_of_megabytes_is_read_again(target: Target) -> None:
    model, text = "a model of long texts", "\N{SNOWMAN}" * (3 * MEBI)
    prompt = f"written once {uuid4()}"
    asked = send(target, ASK, {"prompt": prompt, "models": [model]}).json()
    # Others may have asked for any model.
    pop = {"name": "Mallory's scribe", "models": [model]}
    while (job := send(target, POP, pop).json())["payload"]["prompt"] != prompt:
        send(target, SUBMIT, {"id": job["id"], "generation": "x"})
    handed_in = target.send(
        SUBMIT, json.dumps({"id": job["id"], "generation": text}, ensure_ascii=False).encode()
    )
    assert handed_in.status_code == 200, handed_in.text[:500]
    status = target.http.get(f"/api/v2/generate/text/status/{asked['id']}").json()
    assert status["generations"][0]["text"] == text


@pytest.mark.parametrize(
    "changes",
    [
        {"models": []},
        {"models": [""]},
        {"models": ["x" * 256]},
        {"models": [7]},
        {"max_length": 0},
        {"max_length": 2**31},
        {"max_context_length": -1},
        {"softprompts": ["x" * 1001]},
        {"softprompts": {"a": 1}},
        {"threads": 51},
        {"amount": 21},
        {"name": ""},
        {"name": "\0"},
        {"priority_usernames": ["nobody"]},
    ],
    ids=str,
)
def test_offers_that_are_none_are_refused(target: Target, changes: dict[str, Any]) -> None:
    body = {"name": "Mallory's scribe", "models": ["x"], **changes}
    assert_refused(send(target, POP, body), 400)


def test_many_soft_prompts_are_no_burden(target: Target) -> None:
    names = [f"{'x' * 90} {number}" for number in range(1000)]
    body = {"name": "Mallory's scribe", "models": ["x"], "softprompts": names}
    assert send(target, POP, body).status_code == 200


@pytest.mark.parametrize("job_id", [NOBODY, "7", "", "\u2603", "x" * 100])
def test_jobs_that_never_were_are_refused(target: Target, job_id: str) -> None:
    answer = send(target, SUBMIT, {"id": job_id, "generation": "x"})
    assert assert_refused(answer, 404)["rc"] == "InvalidJobID"
