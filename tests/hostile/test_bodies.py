# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bodies and headers that are wrong in every way that we could think of."""

import json
from pathlib import Path
from typing import Any

import pytest
from cast import picture_text
from hostile.attacks import Target, assert_field_named, assert_refused, image_body, pop_body

ASK = "/api/v2/generate/async"
POP = "/api/v2/generate/pop"
SUBMIT = "/api/v2/generate/submit"
NOBODY = "00000000-0000-0000-0000-000000000000"
HUGE = 64 * 1024 * 1024
CHUNK = 65536
CASES = Path(__file__).parents[1] / "cases"
FIELDS: dict[str, tuple[type, ...]] = {
    "prompt": (str,),
    "params": (dict,),
    "models": (),
    "workers": (),
    "nsfw": (bool,),
    "source_image": (str,),
    "extra_source_images": (),
}
WRONG: list[Any] = [7, True, "text", [1], {"a": 1}, [[]], 0.5]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"null",
        b"[]",
        b'"prompt"',
        b"7",
        b"true",
        b"{",
        b'{"prompt"',
        b"{'prompt': 'x'}",
        b'{"prompt": "x",}',
        b'{"prompt": "\xff\xfe"}',
        b'{"prompt": "\xed\xa0\x80"}',
        b'{"prompt": "\x01"}',
        b'{"prompt": NaN}',
        b'{"prompt": "x", "params": {"cfg_scale": NaN}}',
        b'{"prompt": "x", "params": {"cfg_scale": Infinity}}',
        b'{"prompt": "x", "params": {"cfg_scale": 1e400}}',
        b'{"prompt": "x", "params": {"cfg_scale": -1e400}}',
        b"prompt=x&steps=1",
        b"\x00" * 100,
        b"[" * 100_000,
        b'{"prompt":' * 20_000,
        b'{"params": ' + b"[" * 5_000 + b"]" * 5_000 + b', "prompt": "x"}',
        b"1" * 100_000,
    ],
    ids=lambda body: repr(body[:40]),
)
@pytest.mark.parametrize("path", [ASK, POP, SUBMIT])
def test_what_is_no_json_object_is_refused(target: Target, path: str, body: bytes) -> None:
    assert_refused(target.send(path, body), 400, 404)


@pytest.mark.parametrize("depth", [40, 100, 300, 500, 700, 900, 990, 1_100, 5_000])
def test_nesting_of_any_depth_is_refused_at_once(target: Target, depth: int) -> None:
    for opening, closing in (('{"a":', "}"), ("[", "]")):
        nested = opening * depth + "0" + closing * depth
        for field in ("special", "unknown"):
            body = '{"prompt": "x", "params": {"special": {"in": %s}, "%s": {"in": %s}}}'
            assert_refused(target.send(ASK, (body % (nested, field, nested)).encode()), 400)


@pytest.mark.parametrize("number", [2**31, 2**63, 2**64, 2**200, -(2**63), -1, 0.5, 1e300, "64"])
@pytest.mark.parametrize("field", ["width", "steps", "n", "clip_skip", "seed_variation"])
def test_numbers_out_of_bounds_name_their_field(
    target: Target, field: str, number: float | str
) -> None:
    assert_field_named(target.ask(params={field: number}), field)


@pytest.mark.parametrize("number", [2**31, 2**63, 2**200, -1, 0, 1.5, True, [], "many"])
@pytest.mark.parametrize("field", ["max_pixels", "threads", "amount"])
def test_a_worker_without_bounds_names_its_field(target: Target, field: str, number: Any) -> None:
    answer = target.http.post(POP, headers=target.headers, json=pop_body(**{field: number}))
    assert_field_named(answer, field)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        (field, wrong)
        for field, right in FIELDS.items()
        for wrong in WRONG
        if type(wrong) not in right
    ],
)
def test_a_wrong_type_names_its_field(target: Target, field: str, wrong: Any) -> None:
    body = image_body() | {field: wrong}
    assert_field_named(target.http.post(ASK, headers=target.headers, json=body), field)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (ASK, image_body(prompt="a\0b")),
        (ASK, image_body(models=["a\0b"])),
        (ASK, image_body(params={"seed": "\0"})),
        (ASK, image_body(params={"loras": [{"name": "\0"}]})),
        (ASK, image_body() | {"unknown\0": 1}),
        (POP, pop_body(name="a\0b")),
        (POP, pop_body(models=["a\0bc"])),
        (POP, pop_body(bridge_agent="a\0b")),
        (POP, pop_body(blacklist=["\0"])),
        (SUBMIT, {"id": NOBODY, "generation": "\0"}),
        (SUBMIT, {"id": "\0", "generation": "R2"}),
    ],
    ids=lambda value: str(value)[-60:],
)
def test_the_nul_character_is_refused(target: Target, path: str, body: dict[str, Any]) -> None:
    answer = target.http.post(path, headers=target.headers, json=body)
    assert assert_refused(answer, 400)["rc"] == "NulByteInPayload"


@pytest.mark.parametrize(
    "text", ["\ud800", "\udfff\ud800", "a\ud83d"], ids=["high", "reversed", "cut"]
)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (ASK, {"prompt": "{text}"}),
        (ASK, {"prompt": "x", "models": ["{text}"]}),
        (POP, {"name": "{text}", "models": ["abc"]}),
        (SUBMIT, {"id": "{text}", "generation": "R2"}),
    ],
    ids=["prompt", "models", "name", "id"],
)
def test_half_characters_are_replaced(
    target: Target, path: str, body: dict[str, Any], text: str
) -> None:
    encoded = json.dumps({**body, "dry_run": True}).replace("{text}", json.dumps(text)[1:-1])
    answer = target.send(path, encoded.encode())
    assert answer.status_code == (404 if path is SUBMIT else 200), answer.text


def test_halves_of_characters_that_are_stored_come_back_whole(target: Target) -> None:
    model = "model \ud83d"
    asking = json.dumps(image_body(prompt="a fox \ud83d", models=[model])).encode()
    assert target.send(ASK, asking).status_code == 202
    popped = target.send(POP, json.dumps(pop_body(models=[model])).encode()).json()
    assert popped["payload"]["prompt"] == "a fox \ufffd"
    assert popped["model"] == "model \ufffd"
    note = {"type": "information", "value": "see_ref", "ref": "\ude00 done"}
    done = {"id": popped["id"], "generation": picture_text(), "gen_metadata": [note]}
    assert target.send(SUBMIT, json.dumps(done).encode()).status_code == 200


@pytest.mark.parametrize("name", ["bom_request", "half_emoji_request"])
def test_bodies_of_real_programs_are_read(target: Target, name: str) -> None:
    assert target.send(ASK, (CASES / f"{name}.json").read_bytes()).status_code == 200


def test_of_a_key_that_is_there_twice_the_last_counts(target: Target) -> None:
    body = b'{"prompt": "", "prompt": "x", "params": {"n": 0}, "params": {"n": 1, "width": 64,'
    answer = target.send(ASK, body + b' "height": 64, "steps": 1}, "dry_run": true}')
    assert answer.status_code == 200
    assert_field_named(target.send(ASK, b'{"prompt": "x", "prompt": 7}'), "prompt")


@pytest.mark.parametrize("length", [10_000, 1_000_000])
def test_endless_texts_and_lists_are_refused_or_cut(target: Target, length: int) -> None:
    for body in (
        image_body(prompt="a " * length),
        image_body(models=["m" * 300] * (length // 100)),
        image_body(params={"seed": "9" * length}),
        image_body(params={"loras": [{"name": "x"}] * (length // 100)}),
        image_body(workers=[NOBODY] * (length // 100)),
        image_body(webhook="https://" + "x" * length),
        image_body(style="x" * length),
        image_body(**{"k" * length: 1}),
    ):
        answer = target.http.post(ASK, headers=target.headers, json={**body, "dry_run": True})
        if answer.status_code != 200:
            assert_refused(answer, 400, 404, 413, 429)


def test_endless_offers_are_refused_or_cut(target: Target) -> None:
    for body in (
        pop_body(name="n" * 100_000),
        pop_body(bridge_agent="AI Horde Worker reGen:" + "9" * 900),
        pop_body(bridge_agent="x" * 100_000),
        pop_body(priority_usernames=["a#1"] * 100_000),
        pop_body(priority_usernames=["a#" + "9" * 5_000]),
        pop_body(blacklist=["x" * 100_000] * 5),
    ):
        answer = target.http.post(POP, headers=target.headers, json=body)
        if answer.status_code != 200:
            assert_refused(answer, 400, 413)


@pytest.mark.parametrize("path", [ASK, POP, SUBMIT])
def test_a_body_too_large_is_refused_with_and_without_a_length(target: Target, path: str) -> None:
    body = b'{"prompt": "' + b"x" * HUGE + b'"}'
    said = f"POST {path} HTTP/1.1\r\nHost: x\r\napikey: {target.key}\r\nConnection: close\r\n"
    declared = target.shout(f"{said}Content-Length: {len(body)}\r\n\r\n".encode())
    assert_raw_refusal(declared, 413)
    lines = [b"%x\r\n%s\r\n" % (CHUNK, b"x" * CHUNK)] * (HUGE // CHUNK)
    chunked = target.shout(f"{said}Transfer-Encoding: chunked\r\n\r\n".encode(), *lines)
    assert_raw_refusal(chunked, 413)


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: -1",
        "Content-Length: 1e3",
        "Content-Length: 99999999999999999999",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: nonsense",
        "X: \0",
        "No colon",
        "Content-Length : 5",
    ],
)
def test_broken_heads_are_refused_or_cut_off(target: Target, head: str) -> None:
    request = (
        f"POST {ASK} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n\r\nhello\r\n0\r\n\r\n"
    )
    answer = target.shout(request.encode("latin-1"))
    assert not answer or b" 4" in answer.splitlines()[0]


@pytest.mark.parametrize(
    "line",
    ["", "GET", "GET /", "GET / HTTP/9.9", "G\0T / HTTP/1.1", "\x16\x03\x01", "PRI * HTTP/2.0"],
)
def test_what_is_no_http_is_cut_off(target: Target, line: str) -> None:
    answer = target.shout(f"{line}\r\nConnection: close\r\n\r\n\r\n".encode("latin-1"))
    assert b" 500 " not in answer


def test_a_body_without_a_length_is_no_body(target: Target) -> None:
    said = f"POST {ASK} HTTP/1.1\r\nHost: x\r\napikey: {target.key}\r\nConnection: close\r\n\r\n"
    assert_raw_refusal(target.shout(said.encode()), 400)


@pytest.mark.parametrize("size", [10_000, 1_000_000])
@pytest.mark.parametrize("name", ["apikey", "Client-Agent", "X-Fields", "X-Forwarded-For", "Host"])
def test_giant_headers_are_refused_or_ignored(target: Target, name: str, size: int) -> None:
    lines = f"GET /api/v2/find_user HTTP/1.1\r\nConnection: close\r\n{name}: "
    answer = target.shout(lines.encode(), b"x" * size, b"\r\n\r\n")
    assert not answer or b" 4" in answer.splitlines()[0]


@pytest.mark.parametrize("value", ["\xff\xfe", "a'b\"c", "%00", "' or 1=1 --", "x" * 5000, "é"])
def test_odd_keys_belong_to_nobody(target: Target, value: str) -> None:
    headers = {b"apikey": value.encode("latin-1")}
    assert_refused(target.http.get("/api/v2/find_user", headers=headers), 404)
    assert_refused(target.http.post(POP, headers=headers, json=pop_body()), 401)


def assert_raw_refusal(answer: bytes, status: int) -> None:
    """A whole answer in JSON, with a message."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f" {status} ".encode() in head.splitlines()[0], answer[:500]
    assert b"application/json" in head.lower()
    assert json.loads(body)["message"]
