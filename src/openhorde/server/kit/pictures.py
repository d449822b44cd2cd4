# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures of strangers: bounds before decoding, and one format to keep them in.

Plain functions that take their time: call them in a thread.
"""

import base64
import binascii
import re
import warnings
from io import BytesIO
from typing import Literal, NamedTuple

from PIL import Image, ImageOps, features

PictureReason = Literal["unreadable", "too_many_pixels", "too_many_bytes"]

# Pillow's own bound is one for the whole process and speaks through warnings, which threads
# cannot catch safely. Ours is checked in `_open`, for each picture, before anything is decoded.
Image.MAX_IMAGE_PIXELS = None
# Remarks on odd metadata: nothing the operator of a server could do about them.
warnings.filterwarnings("ignore", module=r"PIL\.")

_FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP"] + (["AVIF"] if features.check("avif") else [])
# The longest side that a WebP picture can have.
_SIDE_PIXELS_MAX = 16383

_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_WHITESPACE = re.compile(r"\s+")
_STANDARD_ALPHABET = str.maketrans("-_", "+/")


class PictureRefused(Exception):
    """A picture is not accepted: `reason` is one of the words of PictureReason."""

    def __init__(self, reason: PictureReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: PictureReason = reason
        self.detail = detail


class PictureFacts(NamedTuple):
    """What the header says. Sizes in pixels; `bands` is 4 where there is transparency, else 3."""

    width: int
    height: int
    format: str
    bands: int


def inspect(data: bytes, *, bytes_max: int, pixels_max: int) -> PictureFacts:
    """Read the header of a PNG, JPEG, WebP, GIF, BMP or AVIF picture, and nothing else.

    A picture that ends too early may pass: only decoding shows that. Raises PictureRefused.
    """
    if len(data) > bytes_max:
        raise PictureRefused("too_many_bytes", f"{len(data)} bytes, at most {bytes_max}")
    with _open(data, pixels_max) as picture:
        return PictureFacts(*picture.size, _format(picture), _bands(picture))


def check_whole(data: bytes, *, pixels_max: int) -> None:
    """Decode a picture (of several frames the first), to see that it can be. Raises
    PictureRefused."""
    with _open(data, pixels_max) as picture:
        try:
            picture.load()
        except Exception as error:  # Pillow raises of every kind over broken data.
            raise PictureRefused("unreadable", "the picture is damaged") from error


def to_webp(data: bytes, *, quality: int, pixels_max: int) -> bytes:
    """Decode a picture (of several frames the first) and encode it as WebP of 0-100 `quality`.

    It is turned upright where it says how, and loses all metadata. Raises PictureRefused, also for
    one that is too large for WebP, as some are from 40 million pixels on.
    """
    encoded = BytesIO()
    try:
        _decoded(data, pixels_max).save(encoded, "WEBP", quality=quality)
    except ValueError as error:
        raise PictureRefused("too_many_pixels", "too many for WebP") from error
    return encoded.getvalue()


def to_jpeg_or_png(data: bytes, *, quality: int, pixels_max: int) -> tuple[bytes, str]:
    """The same for pictures of any size: as JPEG ("jpg"), or as PNG ("png") where there is
    transparency. Raises PictureRefused."""
    plain = _decoded(data, pixels_max)
    encoded = BytesIO()
    if plain.mode == "RGBA":
        plain.save(encoded, "PNG", compress_level=1)
        return encoded.getvalue(), "png"
    plain.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue(), "jpg"


def decode_base64(text: str, bytes_max: int) -> bytes:
    """The bytes of base64 text, as people send it: with or without a `data:` prefix, line breaks,
    padding, in the standard or the URL-safe alphabet. Raises PictureRefused.
    """
    text = text.strip()
    if text[:5].lower() == "data:":
        prefix = _DATA_URL.match(text)
        if not prefix:
            raise PictureRefused("unreadable", "a data URL without base64")
        text = text[prefix.end() :]
    digits = _WHITESPACE.sub("", text).rstrip("=").translate(_STANDARD_ALPHABET)
    if len(digits) * 3 // 4 > bytes_max:
        raise PictureRefused("too_many_bytes", f"at most {bytes_max} bytes")
    try:
        data = base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureRefused("unreadable", "not base64") from error
    if not data:
        raise PictureRefused("unreadable", "empty")
    return data


def _open(data: bytes, pixels_max: int) -> Image.Image:
    try:
        picture = Image.open(BytesIO(data), formats=_FORMATS)
        width, height = picture.size
    except Exception as error:  # Pillow raises of every kind over broken data.
        raise PictureRefused("unreadable", "no picture of a known format") from error
    if not width * height:
        raise PictureRefused("unreadable", "a picture without pixels")
    if width * height > pixels_max or max(width, height) > _SIDE_PIXELS_MAX:
        picture.close()
        raise PictureRefused("too_many_pixels", f"{width} x {height}, at most {pixels_max}")
    return picture


def _decoded(data: bytes, pixels_max: int) -> Image.Image:
    """The picture in RGB or RGBA, upright, and without metadata."""
    with _open(data, pixels_max) as picture:
        try:
            picture.load()
            plain = _in_8_bits(_upright(picture)).convert("RGBA" if _bands(picture) == 4 else "RGB")
            # The encoder would take a colour profile, comments and their like from here.
            plain.info.clear()
        except Exception as error:  # Pillow raises of every kind over broken data.
            raise PictureRefused("unreadable", "the picture is damaged") from error
    return plain


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # Metadata are broken in as many ways, but the picture may be sound.
        return picture


def _in_8_bits(picture: Image.Image) -> Image.Image:
    """Scale 16-bit grey, which Pillow would cut off at 255."""
    if not picture.mode.startswith("I;16"):
        return picture
    grey = picture.point(lambda value: value / 256).convert("L")
    grey.info.pop("transparency", None)
    return grey


def _format(picture: Image.Image) -> str:
    # A JPEG file with further pictures behind the first, as some cameras write.
    return "JPEG" if picture.format == "MPO" else str(picture.format)


def _bands(picture: Image.Image) -> int:
    return 4 if picture.has_transparency_data else 3
