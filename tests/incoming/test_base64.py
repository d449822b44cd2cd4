# SPDX-License-Identifier: AGPL-3.0-or-later
import base64

import pytest

from openhorde.incoming.base64_text import Base64Refused, Base64TooLong, decode_base64

PLENTY = 1_000_000
BYTES = bytes(range(250)) + b"\xfb\xff"


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(BYTES).decode(),
        base64.b64encode(BYTES).decode().rstrip("="),
        base64.urlsafe_b64encode(BYTES).decode(),
        base64.encodebytes(BYTES).decode(),
        " \r\n" + base64.b64encode(BYTES).decode() + "\n",
        "data:image/png;base64," + base64.b64encode(BYTES).decode(),
        "DATA:image/png;charset=x;BASE64,\n" + base64.b64encode(BYTES).decode(),
        "data:;base64," + base64.b64encode(BYTES).decode(),
    ],
)
def test_base64_in_all_its_dresses(text: str) -> None:
    assert decode_base64(text, len(BYTES)) == BYTES


@pytest.mark.parametrize(
    "text",
    [
        *("", "   ", "=", "====", "data:image/png,abc", "data:image/png;base64,", "A", "AAAAA"),
        *("QUJD!", "QU=JD", "é" * 8, "http://example.org/a.png", "QUJD\0", "data:", "<QUJD>"),
    ],
)
def test_junk_is_no_base64(text: str) -> None:
    with pytest.raises(Base64Refused):
        decode_base64(text, PLENTY)


def test_base64_is_bound() -> None:
    with pytest.raises(Base64TooLong, match=f"more than {len(BYTES) - 1} bytes"):
        decode_base64(base64.b64encode(BYTES).decode(), len(BYTES) - 1)
