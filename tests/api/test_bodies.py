# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is read of a body, and what of it is refused before any object is made."""

import json
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct, field

from openhorde.server.api import bodies
from openhorde.server.api.bodies import BodyReader
from openhorde.server.api.operations import Invalid


class Part(Struct, kw_only=True):
    """A part of a body."""

    width: Annotated[int, Meta(ge=0, le=10**16)] = 512
    any: dict[str, Any] | None = None


class Body(Struct, kw_only=True):
    """A body."""

    prompt: str
    part: Part = field(default_factory=Part)
    parts: list[Part] = field(default_factory=list)
    scale: float = 1.0
    flag: bool = False


READER = BodyReader(Body)


def errors_of(raw: bytes) -> dict[str, str]:
    """What is said of a body that is refused."""
    with pytest.raises(Invalid) as refused:
        READER.read(raw)
    return refused.value.errors


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"a \ud83d", "a \ufffd"),
        (rb"\ude00\ud83d", "\ufffd\ufffd"),
        (rb"\ud83d\ud83d\ude00\ude00", "\ufffd\U0001f600\ufffd"),
        (rb"\uD83D\uDE00 \uD83d", "\U0001f600 \ufffd"),
        (rb"\\ud83d \\\ud83d \\\\ud83d", "\\ud83d \\\ufffd \\\\ud83d"),
        (rb"\\ud83d\ude00", "\\ud83d\ufffd"),
        (rb"\" \ud83d", '" \ufffd'),
    ],
)
def test_half_an_emoji_is_replaced(written: bytes, read: str) -> None:
    for body in (b'{"prompt": "%s"}', b'{"prompt": "%s", "flag": null, "part": {"width": 64.0}}'):
        assert READER.read(body % written).prompt == read


@given(st.text(st.characters(codec=None), max_size=20))
def test_every_text_of_a_program_is_read(text: str) -> None:
    """json.dumps writes halves of characters as they are in the text, as JavaScript does."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "\0" not in text:
        assert READER.read(json.dumps({"prompt": text}).encode()).prompt == whole


def test_a_byte_order_mark_is_skipped() -> None:
    for body in (b'{"prompt": "x"}', b' {"prompt": "x", "flag": null}'):
        assert READER.read(b"\xef\xbb\xbf" + body).prompt == "x"
    assert "missing" in errors_of(b"\xef\xbb\xbf")["prompt"]


@pytest.mark.parametrize("width", ["64.0", "6.4e1", "6400e-2", "64.000"])
def test_a_whole_number_may_be_written_with_a_point(width: str) -> None:
    body = '{"prompt": "x", "part": {"width": %s}, "parts": [{"width": %s}], "scale": %s}'
    read = READER.read((body % (width, width, width)).encode())
    assert (read.part.width, read.parts[0].width, read.scale) == (64, 64, 64.0)


@pytest.mark.parametrize(
    "width", ["64.5", "1e300", "1e400", "-1e400", '"64"', '"64.0"', "true", "6.4e-1", "1e17"]
)
def test_other_numbers_are_no_whole_ones(width: str) -> None:
    assert (
        "whole number"
        in errors_of(b'{"prompt": "x", "part": {"width": %s}}' % width.encode())["part.width"]
    )


@pytest.mark.parametrize("value", ["[]", "{}", '""', "null", "0", '"a,[{"', '{"a":[0]}', '"\\\\"'])
def test_too_many_values_are_refused_unread(value: str) -> None:
    values = ",".join([value] * (bodies.VALUES_MAX + 1))
    for place in ('"more": [%s]', '"part": {"any": {"a": [%s]}}', '"prompt": [%s]'):
        raw = ('{"prompt": "x", %s}' % (place % values)).encode()
        assert f"at most {bodies.VALUES_MAX}" in errors_of(raw)["body"]


def test_what_only_closes_or_quotes_is_refused() -> None:
    for mark in (b"}", b"]", b'"'):
        assert errors_of(b"[" * 51 + mark * (4 * bodies.VALUES_MAX + 1))["body"]


@pytest.mark.parametrize("text", ["[{,", '\\"[,{', "}],\\\\", "\\\\,\\\\"])
def test_marks_within_a_text_are_no_values(text: str) -> None:
    prompt = text * bodies.VALUES_MAX
    read = READER.read(b'{"prompt": "%s", "flag": null}' % prompt.encode())
    assert read.prompt == json.loads(f'"{prompt}"')


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_depth_is_bounded(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"

    def nested(depth: int) -> bytes:
        inner = opening * depth + b"0" + closing * depth
        return b'{"prompt": "[[[{{{", "part": {"any": {"a": %s}}}' % inner

    assert READER.read(nested(bodies.DEPTH_MAX - 3)).prompt
    for depth in (bodies.DEPTH_MAX - 2, 900, 19_000):
        assert "deep" in errors_of(nested(depth))["body"]


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b"[]", "body"),
        (b'{"prompt": ["a", "b"]}', "prompt"),
        (b'{"prompt": "x", "part": {"width": []}}', "part.width"),
    ],
)
def test_a_list_where_there_should_be_none_is_called_a_list(raw: bytes, named: str) -> None:
    errors = errors_of(raw)
    assert list(errors) == [named]
    assert "not a list of" in errors[named]
