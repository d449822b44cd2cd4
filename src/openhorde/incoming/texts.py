# SPDX-License-Identifier: AGPL-3.0-or-later
"""Text and JSON as others write them: halves of characters, byte order marks, other encodings."""

import codecs
import io
import json
import re
from pathlib import Path
from typing import Any, TextIO, TypeVar, overload

import msgspec

T = TypeVar("T")

_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")
# Halves that stand for no byte: those that do are U+DC80 to U+DCFF ("surrogateescape").
_LONE_HALF = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class TextRefused(msgspec.DecodeError):
    """A file is not saved in an encoding that can be told; the message names it, and the one that
    is wanted."""


def mended(text: str) -> str:
    """The text without halves of characters, so that it can be encoded.

    Two halves that meet become the character, and so do bytes of one ("surrogateescape"), which
    engines hand out one after the other; what is left of others becomes U+FFFD.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        text = _PAIR.sub(_joined, text)
        text = _LONE_HALF.sub("\ufffd", text)
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text


def encode_json(value: Any) -> bytes:
    """The value as JSON, whatever its texts hold."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(all_mended(msgspec.to_builtins(value)))


@overload
def decode_json(content: bytes) -> Any: ...
@overload
def decode_json(content: bytes, kind: type[T], *, strict: bool = True) -> T: ...
def decode_json(content: bytes, kind: Any = Any, *, strict: bool = True) -> Any:
    """JSON as a `kind`, as msgspec reads it; byte order marks and halves of characters do not
    matter. Raises msgspec.DecodeError."""
    try:
        return msgspec.json.decode(content, type=kind, strict=strict)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        try:
            text = content.decode(json.detect_encoding(content), "replace")
            loose = all_mended(json.loads(text))
        except (ValueError, RecursionError):
            raise msgspec.DecodeError(str(error)) from None
    return msgspec.convert(loose, kind, strict=strict)


def decode_text(data: bytes, name: str) -> str:
    """The text of a file: in UTF-8, or in UTF-16 or UTF-32 where it begins as such. Lines end in
    "\\n" alone. Raises TextRefused, with the file's `name`."""
    encoding = "utf-8"
    for mark, marked in _MARKS:
        if data.startswith(mark):
            data, encoding = data[len(mark) :], marked
            break
    else:
        # Text begins with an ASCII character as a rule, half of which is a zero in UTF-16.
        if data[:1] == b"\0":
            encoding = "utf-16-be"
        elif data[1:2] == b"\0":
            encoding = "utf-16-le"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TextRefused(
            f"{name} is not saved as {encoding.upper()}: line {line} holds a character in another "
            "encoding. Save the file as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text_file(path: Path) -> str:
    """The text of a file that somebody has written by hand. Raises OSError or TextRefused."""
    return decode_text(path.read_bytes(), str(path))


def read_json_file(path: Path, kind: type[T]) -> T:
    """The JSON of a file as a `kind`. Raises OSError or msgspec.DecodeError."""
    return decode_json(read_text_file(path).encode(), kind)


def write_anything(*streams: TextIO | Any) -> None:
    """Have these streams show what their encoding cannot as escapes, where they would raise."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _joined(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def all_mended(value: Any) -> Any:
    """The value, of what JSON knows, with `mended` texts."""
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, dict):
        return {all_mended(key): all_mended(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [all_mended(each) for each in value]
    return value
