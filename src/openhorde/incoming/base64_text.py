# SPDX-License-Identifier: AGPL-3.0-or-later
"""Base64 as people send it."""

import base64
import binascii
import re

_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_WHITESPACE = re.compile(r"\s+")
_STANDARD_ALPHABET = str.maketrans("-_", "+/")


class Base64Refused(ValueError):
    """Text is not base64, or more of it than is taken; the message says which."""


class Base64TooLong(Base64Refused):
    """It holds more bytes than are taken."""


def decode_base64(text: str, bytes_max: int) -> bytes:
    """The bytes of base64 text: with or without a `data:` prefix, line breaks and padding, in the
    standard or the URL-safe alphabet. Raises Base64Refused.
    """
    text = text.strip()
    if text[:5].lower() == "data:":
        prefix = _DATA_URL.match(text)
        if not prefix:
            raise Base64Refused("a data: URL without base64")
        text = text[prefix.end() :]
    digits = _WHITESPACE.sub("", text).rstrip("=").translate(_STANDARD_ALPHABET)
    if len(digits) * 3 // 4 > bytes_max:
        raise Base64TooLong(f"more than {bytes_max} bytes")
    try:
        data = base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Base64Refused("not base64") from error
    if not data:
        raise Base64Refused("empty")
    return data
