# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the bytes of a call to the structs its operation declares."""

import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from openhorde.server.api.operations import Invalid
from openhorde.server.api.plain import explain
from openhorde.server.domain.refusals import Refusal

_QUERY_FIELDS_MAX = 100
_TOO_DEEP = "is nested too deeply"
# Far more than any operation needs, far less than the interpreter bears wherever a body is walked.
_DEPTH_MAX = 50
_TEXT_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{\]}]', re.DOTALL)


class BodyReader:
    """Decodes bodies of one declared type.

    An explicit null counts as absent, as clients send it for what they leave open. That is rare
    enough to be tried only when the strict reading fails.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def read(self, raw: bytes) -> Any:
        """Raises Invalid naming the wrong field; Refusal NulByteInPayload."""
        if not raw or raw.isspace():
            raw = b"{}"
        if _is_too_deep(raw):
            raise Invalid({"body": _TOO_DEEP})
        try:
            if b"\\u0000" in raw and _holds_nul(msgspec.json.decode(raw)):
                raise Refusal("NulByteInPayload")
            try:
                return self._decoder.decode(raw)
            except msgspec.ValidationError as strict:
                return self._read_tolerantly(raw, strict)
        except (RecursionError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Invalid({"body": _unreadable(error)}) from None

    def _read_tolerantly(self, raw: bytes, strict: msgspec.ValidationError) -> Any:
        try:
            value = msgspec.json.decode(raw)
        except msgspec.ValidationError:
            # A number beyond any machine's: only the strict reading knows which field it is in.
            raise Invalid(explain(strict, self._kind, None)) from None
        value = _without_nulls(value)
        try:
            return msgspec.convert(value, self._kind)
        except msgspec.ValidationError as error:
            raise Invalid(explain(error, self._kind, value)) from None


def read_query(kind: type, query_string: str) -> Any:
    """Decode a query string; a field that is sent empty counts as absent.

    Raises Invalid naming the wrong field; Refusal NulByteInPayload.
    """
    try:
        pairs = parse_qsl(query_string, max_num_fields=_QUERY_FIELDS_MAX, errors="strict")
    except ValueError:
        raise Invalid({"query": f"must be UTF-8 of at most {_QUERY_FIELDS_MAX} fields"}) from None
    value = dict(pairs)
    if _holds_nul(value):
        raise Refusal("NulByteInPayload")
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(explain(error, kind, value)) from None


def _is_too_deep(raw: bytes) -> bool:
    """Whether objects and lists lie in each other deeper than the bound."""
    if raw.count(b"{") + raw.count(b"[") <= _DEPTH_MAX:
        return False
    depth = 0
    for found in _TEXT_OR_BRACKET.finditer(raw):
        match found[0]:
            case b"{" | b"[":
                depth += 1
            case b"}" | b"]":
                depth -= 1
        if depth > _DEPTH_MAX:
            return True
    return False


def _unreadable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8"
    return f"is not JSON that can be read ({error})"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(each) for key, each in value.items())
    if isinstance(value, list):
        return any(_holds_nul(each) for each in value)
    return False
