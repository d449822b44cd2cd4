# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures between the wire's bytes and Pillow."""

from io import BytesIO
from typing import Literal

from PIL import Image

from openhorde.worker.backends.base import JobFault, Note

WEBP_QUALITY = 95
PIXELS_MAX = 64_000_000


def read_picture(content: bytes, role: Literal["source_image", "source_mask"]) -> Image.Image:
    """Decode an image file. Raises JobFault when it is none, or has more than PIXELS_MAX pixels."""
    notes = [Note(type=role, value="parse_failed")]
    try:
        with Image.open(BytesIO(content)) as opened:
            if opened.width * opened.height > PIXELS_MAX:
                raise JobFault(f"{role}: {opened.width}x{opened.height} is too large", notes)
            opened.load()
            return opened.copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise JobFault(f"{role}: it cannot be read: {error}", notes) from error


def write_webp(picture: Image.Image) -> bytes:
    """Encode as the wire wants it."""
    buffer = BytesIO()
    picture.save(buffer, "WEBP", quality=WEBP_QUALITY, method=6)
    return buffer.getvalue()
