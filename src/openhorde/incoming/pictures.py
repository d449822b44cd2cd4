# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures of strangers: bounds before decoding, and every picture opened in the same way.

Plain functions that take their time: call them in a thread.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Literal, NamedTuple

from PIL import Image, ImageChops, ImageCms, ImageOps

from openhorde.incoming import containers
from openhorde.incoming.formats import TAKEN, named

# Remarks on odd metadata, about which whoever opens a stranger's picture can do nothing, and on
# Pillow's own bound, in whose place each picture is measured against that of its caller.
warnings.filterwarnings("ignore", module=r"PIL\.")

PictureReason = Literal["unreadable", "format", "too_many_pixels", "too_many_bytes"]
Ending = Literal["png", "jpg", "webp"]

SIDE_PIXELS_MAX = 16383
"""The longest side that a WebP picture can have."""

_ORIENTATION = 0x0112
_QUALITY = 92
_PROFILE_BYTES_MAX = 4 << 20
_PROFILE_MODES = {"RGB": ("RGB", "RGBA", "P"), "GRAY": ("L", "LA"), "CMYK": ("CMYK",)}
_HALF = 128
"""Where a mask that is only black and white divides the two."""


class PictureRefused(Exception):
    """A picture is not accepted. `reason` is one of the words of PictureReason; `detail` says what
    is wrong, in words that may follow a colon."""

    def __init__(self, reason: PictureReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: PictureReason = reason
        self.detail = detail


class PictureFacts(NamedTuple):
    """What the header says. Sides in pixels, as they are stored; `bands` is 4 where there is
    transparency, else 3; `format` as Pillow names it."""

    width: int
    height: int
    format: str
    bands: int


@dataclass(frozen=True)
class Opened:
    """A picture that was decoded: `picture` is RGB or RGBA of 8 bits, sRGB, upright, without
    metadata. Colours under full transparency are as they came.

    `bare` is the file itself without metadata, where that shows the very same picture.
    """

    picture: Image.Image
    format: str
    lossless: bool
    bare: bytes | None

    @cached_property
    def stored(self) -> tuple[bytes, Ending]:
        """A file of this picture for others to open, about as large as the one that came, and what
        its name ends in. Nothing that was without loss loses anything."""
        if self.bare is not None:
            endings: dict[str, Ending] = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
            return self.bare, endings[self.format]
        if not self.lossless and self.picture.mode == "RGB":
            return _written(self.picture, "JPEG", quality=_QUALITY), "jpg"
        if not self.lossless:
            try:
                return to_webp(self.picture, _QUALITY), "webp"
            except PictureRefused:
                pass  # The encoder cannot do some pictures of tens of millions of pixels.
        return as_png(self.picture), "png"


def inspect(data: bytes, *, bytes_max: int, pixels_max: int) -> PictureFacts:
    """Read the header of a picture, and nothing else.

    A picture that ends too early may pass: only decoding shows that. Raises PictureRefused.
    """
    if len(data) > bytes_max:
        raise PictureRefused("too_many_bytes", f"more than {bytes_max} bytes")
    with _opened(data, pixels_max) as picture:
        bands = 4 if picture.has_transparency_data else 3
        return PictureFacts(*picture.size, _format(picture), bands)


def open_picture(data: bytes, *, pixels_max: int) -> Opened:
    """Decode a picture, of several frames the first. Raises PictureRefused."""
    with _opened(data, pixels_max) as picture:
        if picture.format in ("JPEG", "MPO"):
            _check_scans(data)
        lossless = _is_lossless(picture, data)
        try:
            picture.load()
            bare = _bare(picture, data)
            plain = _in_rgb(_upright(picture))
        except Exception as error:  # Pillow raises of every kind over broken data.
            raise PictureRefused("unreadable", "it is damaged") from error
        plain.info.clear()
        return Opened(plain, _format(picture), lossless, bare)


def has_holes(picture: Image.Image) -> bool:
    """Whether a picture is transparent somewhere, enough for inpainting to draw there."""
    return picture.mode == "RGBA" and _extremes(picture.getchannel("A"))[0] < _HALF


def holes(picture: Image.Image) -> Image.Image:
    """The mask of an RGBA picture: white where it is transparent."""
    return ImageOps.invert(picture.getchannel("A"))


def as_mask(picture: Image.Image) -> Image.Image:
    """A picture that was sent as a mask, in grey: white is where to draw.

    Of a transparent layer the strokes are the mask, whatever their colour; where a layer shows both
    light and dark, the light is.
    """
    grey = picture.convert("RGB").convert("L")
    if picture.mode != "RGBA":
        return grey
    alpha = picture.getchannel("A")
    if _extremes(alpha)[0] == 255:
        return grey
    shown = alpha.point([0] * _HALF + [255] * _HALF)
    if _extremes(shown)[1]:
        dark, light = (int(one) for one in _extremes(grey, shown))
        if dark < _HALF <= light:
            return Image.composite(grey, Image.new("L", grey.size, 0), alpha)
    return alpha


def selects_nothing(mask: Image.Image) -> bool:
    """Whether nothing would be drawn with this mask in grey."""
    return _extremes(mask)[1] < _HALF


def to_webp(picture: Image.Image, quality: int) -> bytes:
    """A WebP of 0-100 `quality` that keeps the colours under transparency, and transparency itself
    without loss. Raises PictureRefused for one that is too large for WebP, as some are from 40
    million pixels on."""
    try:
        return _written(picture, "WEBP", quality=quality, exact=True)
    except ValueError as error:
        raise PictureRefused("too_many_pixels", "too many pixels for WebP") from error


def to_lossless_webp(picture: Image.Image) -> bytes:
    """A WebP of the very same pixels, also where they are transparent."""
    return _written(picture, "WEBP", lossless=True, exact=True)


def as_png(picture: Image.Image) -> bytes:
    """A PNG of the very same pixels."""
    return _written(picture, "PNG")


def _written(picture: Image.Image, file_format: str, **options: object) -> bytes:
    written = BytesIO()
    picture.save(written, file_format, **options)
    return written.getvalue()


def _opened(data: bytes, pixels_max: int) -> Image.Image:
    most = containers.pieces_beyond(data)
    if most is not None:
        raise PictureRefused("unreadable", f"the file is in more than {most} pieces")
    try:
        picture = Image.open(BytesIO(containers.png_without_large_text(data)), formats=TAKEN)
        width, height = picture.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureRefused("too_many_pixels", f"more than {pixels_max} pixels") from error
    except Exception as error:  # Pillow raises of every kind over broken data.
        raise _unknown(data) from error
    if not width * height:
        raise PictureRefused("unreadable", "it has no pixels")
    if width * height > pixels_max or max(width, height) > SIDE_PIXELS_MAX:
        picture.close()
        bound = f"{pixels_max} pixels in all and {SIDE_PIXELS_MAX} a side"
        raise PictureRefused("too_many_pixels", f"{width}x{height}; at most {bound}")
    return picture


def _unknown(data: bytes) -> PictureRefused:
    name = named(data)
    if name is None:
        return PictureRefused("unreadable", "it is of no known format, or damaged")
    return PictureRefused("format", f"it is {name}")


def _check_scans(data: bytes) -> None:
    if containers.jpeg_scans(data) > containers.JPEG_SCANS_MAX:
        bound = containers.JPEG_SCANS_MAX
        raise PictureRefused("unreadable", f"it is a JPEG picture of more than {bound} scans")


def _is_lossless(picture: Image.Image, data: bytes) -> bool:
    if picture.format == "WEBP":
        return containers.is_lossless_webp(data)
    return picture.format in ("PNG", "GIF", "BMP")


def _bare(picture: Image.Image, data: bytes) -> bytes | None:
    """The file without metadata, unless these change how the picture looks."""
    if _orientation(picture) != 1 or _profile(picture) is not None:
        return None
    if picture.format == "PNG" and containers.png_bits(data) <= 8:
        return containers.bare_png(data)
    if picture.format in ("JPEG", "MPO") and picture.mode in ("RGB", "L"):
        return containers.bare_jpeg(data)
    if picture.format == "WEBP" and not getattr(picture, "is_animated", False):
        return containers.bare_webp(data, picture.size)
    return None


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION, 1) or 1)
    except Exception:  # Metadata are broken in many ways, but the picture may be sound.
        return 1


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # As above.
        return picture


def _in_rgb(picture: Image.Image) -> Image.Image:
    """The picture in RGB or, where there is transparency, RGBA, of 8 bits and in sRGB."""
    if picture.mode == "I;16":
        return _of_16_bits(picture)
    plain = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    profile = _profile(picture)
    if profile is None:
        return plain
    # Profiles of inks and of greys apply to the values as they came.
    source_mode = {"CMYK": "CMYK", "L": "L", "LA": "L"}.get(picture.mode, "RGB")
    try:
        converted = ImageCms.profileToProfile(
            picture.convert(source_mode), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, ValueError, TypeError, OSError):
        return plain
    if converted is None:
        return plain
    if plain.mode == "RGBA":
        converted.putalpha(plain.getchannel("A"))
    return converted


def _of_16_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits, which Pillow would cut off at 255, and the one value that may stand for
    transparency."""
    low, high = Image.frombytes("LA", picture.size, picture.tobytes()).split()
    grey = Image.merge("RGB", (high, high, high))
    hole = picture.info.get("transparency")
    if isinstance(hole, int):
        elsewhere = (_all_but(low, hole & 255), _all_but(high, hole >> 8))
        grey.putalpha(ImageChops.lighter(*elsewhere))
    return grey


def _all_but(band: Image.Image, value: int) -> Image.Image:
    """255 wherever a band has another value."""
    return band.point([0 if each == value else 255 for each in range(256)])


def _profile(picture: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The colour profile, when it can be read, suits the picture, and is another than sRGB."""
    content = picture.info.get("icc_profile")
    if not isinstance(content, bytes) or not 0 < len(content) <= _PROFILE_BYTES_MAX:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(content))
        modes = _PROFILE_MODES.get(profile.profile.xcolor_space.strip(), ())
        name = profile.profile.profile_description or ""
    except Exception:  # Profiles are broken in many ways, but the picture may be sound.
        return None
    return profile if picture.mode in modes and "srgb" not in name.lower() else None


def _format(picture: Image.Image) -> str:
    # A JPEG file with further pictures behind the first, as some cameras write.
    return "JPEG" if picture.format == "MPO" else str(picture.format)


def _extremes(band: Image.Image, where: Image.Image | None = None) -> tuple[int, int]:
    """The least and the greatest value of a band, where `where` is not black."""
    counted = band.histogram(where)
    values = [value for value, count in enumerate(counted) if count]
    return (values[0], values[-1]) if values else (255, 0)
