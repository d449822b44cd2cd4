# SPDX-License-Identifier: AGPL-3.0-or-later
"""What workers hand in for a form: of the right shape, and not too large or too deep.

A result is an object whose key is the form. Where the form's result is a picture the value is "R2"
(it was uploaded) or the picture in base64; otherwise it is what the form is to tell.
"""

from typing import Any, Final

import msgspec

from openhorde.server.domain.kinds.alchemy import PICTURE_FORMS
from openhorde.server.domain.kinds.face import SentPicture, UploadedPicture
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.shown_text import shown_text

UPLOADED: Final = "R2"
CAPTION_CHARACTERS_MAX: Final = 10_000
KEYWORD_CHARACTERS_MAX: Final = 1_000
RESULT_BYTES_MAX: Final = 256 << 10
DEPTH_MAX: Final = 8


def read_result(
    form: str, given: dict[str, Any] | str | None
) -> tuple[Any, SentPicture | UploadedPicture | None]:
    """The value for a form, and its picture where the form makes one.

    Old workers send the object as JSON in a string. Raises Refusal for what is no such result.
    """
    value = _value(form, _object(given))
    if form in PICTURE_FORMS:
        if not isinstance(value, str) or not value:
            raise _refused(f'of {form} must be "R2" after the upload, or the picture in base64')
        uploaded = value == UPLOADED
        return UPLOADED, UploadedPicture("result") if uploaded else SentPicture("result", value)
    if form == "caption":
        _check_caption(value)
    elif form == "nsfw":
        if not isinstance(value, bool):
            raise _refused("of nsfw must be true or false")
    elif form == "interrogation":
        _check_keywords(value)
    _check_bounds(form, value)
    return _shown(form, value), None


def _object(given: dict[str, Any] | str | None) -> dict[str, Any]:
    if isinstance(given, str):
        try:
            given = msgspec.json.decode(given)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise _refused("is a string, but not the JSON of an object") from None
    if not isinstance(given, dict):
        raise _refused("is missing: it must be an object with the form's name as its key")
    return given


def _value(form: str, given: dict[str, Any]) -> Any:
    if form not in given:
        raise _refused(f"must be an object with the key {form}")
    return given[form]


def _check_caption(value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise _refused("of caption must be a text that is not empty")
    if len(value) > CAPTION_CHARACTERS_MAX:
        raise _refused(f"of caption must have at most {CAPTION_CHARACTERS_MAX} characters")


def _check_keywords(value: Any) -> None:
    categories = value.values() if isinstance(value, dict) and value else (None,)
    for ranked in categories:
        if not isinstance(ranked, list) or not all(map(_is_keyword, ranked)):
            raise _refused(
                "of interrogation must be an object of categories, each a list of objects with a"
                " text and a number as its confidence"
            )


def _is_keyword(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
        return False
    confidence = entry.get("confidence")
    return isinstance(confidence, int | float) and not isinstance(confidence, bool)


def _shown(form: str, value: Any) -> Any:
    """The value with what people read of it as shown text."""
    if form == "caption":
        caption = shown_text(value, CAPTION_CHARACTERS_MAX)
        if not caption:
            raise _refused("of caption holds nothing that can be shown")
        return caption
    if form == "interrogation":
        return {
            shown_text(category, KEYWORD_CHARACTERS_MAX): [
                {**entry, "text": shown_text(entry["text"], KEYWORD_CHARACTERS_MAX)}
                for entry in ranked
            ]
            for category, ranked in value.items()
        }
    return value


def _check_bounds(form: str, value: Any) -> None:
    if _is_too_deep(value, DEPTH_MAX):
        raise _refused(f"of {form} is nested deeper than {DEPTH_MAX} levels")
    if _holds_nul(value):
        raise Refusal("NulByteInPayload")
    if len(msgspec.json.encode(value)) > RESULT_BYTES_MAX:
        raise _refused(f"of {form} must be at most {RESULT_BYTES_MAX} bytes of JSON")


def _is_too_deep(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_too_deep(part, levels - 1) for part in parts)


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any("\0" in key or _holds_nul(part) for key, part in value.items())
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value


def _refused(why: str) -> Refusal:
    return Refusal("BadRequest", field="result", why=why)
