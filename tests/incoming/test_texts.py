# SPDX-License-Identifier: AGPL-3.0-or-later
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from openhorde.incoming.texts import (
    TextRefused,
    decode_json,
    decode_text,
    encode_json,
    mended,
    read_json_file,
    write_anything,
)

CASES = Path(__file__).parents[1] / "cases"
ANYTHING = st.text(st.characters(exclude_categories=()))


class Prompt(Struct):
    prompt: str


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("plain", "plain"),
        ("grün \U0001f600", "grün \U0001f600"),
        ("a\ud83d\ude00b", "a\U0001f600b"),
        ("\ud83d", "\ufffd"),
        ("a \ude00 b", "a \ufffd b"),
        ("\ud83da\ude00", "\ufffda\ufffd"),
        ("\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        # Bytes of one character, decoded one by one with "surrogateescape".
        ("\udcf0\udc9f\udc98\udc80", "\U0001f600"),
        ("caf\udce9", "caf\ufffd"),
        # A low half that could as well be a byte.
        ("\ud83d\udc80", "\U0001f480"),
    ],
)
def test_halves_of_characters_are_put_together_or_replaced(given: str, expected: str) -> None:
    assert mended(given) == expected


@given(ANYTHING)
def test_every_text_can_be_encoded_once_mended(text: str) -> None:
    once = mended(text)
    assert once.encode().decode() == once
    assert mended(once) == once


@given(ANYTHING)
def test_cutting_a_text_in_two_and_joining_it_again_loses_nothing(text: str) -> None:
    whole = mended(text)
    units = whole.encode("utf-16-le")
    for at in range(0, len(units) + 1, 2):
        halves = [half.decode("utf-16-le", "surrogatepass") for half in (units[:at], units[at:])]
        assert mended("".join(halves)) == whole


@given(st.dictionaries(ANYTHING, st.lists(ANYTHING)))
def test_whatever_texts_hold_becomes_json(value: Any) -> None:
    assert json.loads(encode_json({"all": value})).keys() == {"all"}


@given(ANYTHING)
def test_json_of_any_program_is_read(text: str) -> None:
    """As programs write it that do not look at halves."""
    escaped = json.dumps({"prompt": text}).encode()
    bare = json.dumps({"prompt": text}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert decode_json(escaped, Prompt).prompt == mended(json.loads(escaped)["prompt"])
    for mark in (b"", b"\xef\xbb\xbf"):
        found = decode_json(mark + bare, Prompt).prompt
        assert found == mended(found)


def test_the_reported_bodies_are_read() -> None:
    assert decode_json((CASES / "half_emoji_request.json").read_bytes())["prompt"].encode()
    assert decode_json((CASES / "bom_request.json").read_bytes())["prompt"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"nothing", b"\xff\xfe", b"[" * 200_000, b'{"prompt": 7}', b"9" * 9000]
)
def test_what_is_no_json_stays_a_decoding_error(content: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_json(content, Prompt)


TEXT = "name: Küche \U0001f600\r\nnext: line\rlast: one\n"
LINES = "name: Küche \U0001f600\nnext: line\nlast: one\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_files_are_read_in_every_encoding_that_can_be_told(encoding: str) -> None:
    assert decode_text(TEXT.encode(encoding), "a file") == LINES


def test_a_file_in_another_encoding_is_refused_with_its_line() -> None:
    for encoding in ("latin-1", "cp1252"):
        with pytest.raises(TextRefused) as refused:
            decode_text("first\nname: Küche\n".encode(encoding), "worker.yaml")
        assert str(refused.value) == (
            "worker.yaml is not saved as UTF-8: line 2 holds a character in another encoding."
            " Save the file as UTF-8"
        )
    with pytest.raises(TextRefused, match="UTF-16-LE"):
        decode_text(b"\xff\xfea", "worker.yaml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_files_are_read_in_all_of_them(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "about.json"
    file.write_text('{"prompt": "Küche"}', encoding=encoding)
    assert read_json_file(file, Prompt).prompt == "Küche"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_console_shows_what_it_can(encoding: str) -> None:
    shown = io.BytesIO()
    console = io.TextIOWrapper(shown, encoding=encoding)
    write_anything(console, io.StringIO(), None)
    console.write("ü \U0001f600 \ud83d")
    console.flush()
    assert shown.getvalue().decode(encoding).endswith(" \\ud83d")
