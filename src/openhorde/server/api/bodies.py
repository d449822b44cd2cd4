# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the bytes of a call to the structs its operation declares."""

import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from openhorde.server.api.operations import Invalid
from openhorde.server.api.plain import explain
from openhorde.server.domain.refusals import Refusal

QUERY_FIELDS_MAX = 100
DEPTH_MAX = 50
"""Objects and lists may lie in each other this deep: far more than any operation needs, far less
than the interpreter bears wherever a body is walked."""

VALUES_MAX = 20_000
"""A body holds at most this many values. Each becomes an object many times its size."""

_TOO_DEEP = f"is nested too deeply: at most {DEPTH_MAX} levels are read"
_TOO_MANY = f"holds too many values: at most {VALUES_MAX} are read"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_HALF_CHARACTER = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_HALF_CHARACTERS_MAX = 1_000
_ESCAPES_MENDED_MAX = 250_000
_EXACT_FLOAT_MAX = 2.0**53
_QUOTES_MAX = 4 * VALUES_MAX
_STRUCTURE = b"{}[],"
_NO_STRUCTURE = bytes(byte for byte in range(256) if byte not in _STRUCTURE)


class BodyReader:
    """Decodes bodies of one declared type.

    An explicit null counts as absent, as clients send it for what they leave open; where that may
    cost somebody something, it is refused (`refuses_null`). A whole number may come as 1.0. Both
    are rare enough to be tried only when the strict reading fails.
    """

    def __init__(self, kind: Any, *, refuses_null: bool = False) -> None:
        self._kind = kind
        self._refuses_null = refuses_null
        self._decoder = msgspec.json.Decoder(kind)

    def read(self, raw: bytes) -> Any:
        """Read in time linear in the size of the body.

        Raises Invalid naming the wrong field; Refusal NulByteInPayload.
        """
        raw = raw.removeprefix(_BYTE_ORDER_MARK)
        if not raw or raw.isspace():
            raw = b"{}"
        _check_structure(raw)
        try:
            try:
                return self._read(raw)
            except msgspec.DecodeError:
                mended = _with_whole_characters(raw)
                if mended is raw:
                    raise
                return self._read(mended)
        except (RecursionError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Invalid({"body": _unreadable(error)}) from None

    def _read(self, raw: bytes) -> Any:
        if b"\\u0000" in raw and _holds_nul(msgspec.json.decode(raw)):
            raise Refusal("NulByteInPayload")
        if self._refuses_null and b"null" in raw:
            self._refuse_null(msgspec.json.decode(raw))
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError as strict:
            return self._read_tolerantly(raw, strict)

    def _read_tolerantly(self, raw: bytes, strict: msgspec.ValidationError) -> Any:
        try:
            value = msgspec.json.decode(raw)
        except msgspec.ValidationError:
            # A number beyond any machine's: only the strict reading knows which field it is in.
            raise Invalid(explain(strict, self._kind, None)) from None
        value = _plain(value)
        try:
            return msgspec.convert(value, self._kind)
        except msgspec.ValidationError as error:
            raise Invalid(explain(error, self._kind, value)) from None

    def _refuse_null(self, value: Any) -> None:
        if not isinstance(value, dict):
            return
        errors = {
            field: "must not be null: give a value, or leave the field out"
            for field in self._kind.__struct_encode_fields__
            if field in value and value[field] is None
        }
        if errors:
            raise Invalid(errors)


def read_query(kind: type, query_string: str) -> Any:
    """Decode a query string; a field that is sent empty counts as absent.

    Raises Invalid naming the wrong field; Refusal NulByteInPayload.
    """
    try:
        pairs = parse_qsl(query_string, max_num_fields=QUERY_FIELDS_MAX, errors="strict")
    except ValueError:
        raise Invalid({"query": f"must be UTF-8 of at most {QUERY_FIELDS_MAX} fields"}) from None
    value = dict(pairs)
    if _holds_nul(value):
        raise Refusal("NulByteInPayload")
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(explain(error, kind, value)) from None


def _check_structure(raw: bytes) -> None:
    """Refuse a body of too many values, or too deep, before any object is made of it.

    Raises Invalid.
    """
    openings = raw.count(b"{") + raw.count(b"[")
    few = len(raw) <= VALUES_MAX or openings + raw.count(b",") <= VALUES_MAX
    if few and openings <= DEPTH_MAX:
        return
    plain = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    texts = plain.split(b'"', _QUOTES_MAX)
    structure = b"".join(texts[::2]).translate(None, _NO_STRUCTURE)
    values = structure.count(b"{") + structure.count(b"[") + structure.count(b",")
    if values > VALUES_MAX or len(texts) > _QUOTES_MAX or len(structure) > 3 * VALUES_MAX:
        raise Invalid({"body": _TOO_MANY})
    depth = 0
    for mark in structure:
        if mark in b"{[":
            depth += 1
            if depth > DEPTH_MAX:
                raise Invalid({"body": _TOO_DEEP})
        elif mark in b"}]":
            depth -= 1


def _unreadable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8"
    return f"is not JSON that can be read ({error})"


def _with_whole_characters(raw: bytes) -> bytes:
    """JSON with U+FFFD in place of halves of characters, which are left where a text was cut inside
    an emoji; the very same object where there are none."""
    if not 0 < raw.count(b"\\") <= _ESCAPES_MENDED_MAX:
        return raw
    # From here on every backslash begins an escape.
    plain = raw.replace(rb"\\", rb"\u005c")
    mended, count = _HALF_CHARACTER.subn(rb"\\ufffd", plain, _HALF_CHARACTERS_MAX)
    return mended if count else raw


def _plain(value: Any) -> Any:
    """A copy without what is null, and with whole numbers that are written as such."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_FLOAT_MAX:
        return int(value)
    return value


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(each) for key, each in value.items())
    if isinstance(value, list):
        return any(_holds_nul(each) for each in value)
    return False
