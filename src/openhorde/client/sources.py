# SPDX-License-Identifier: AGPL-3.0-or-later
"""Source pictures: a path, the bytes, a picture of Pillow's or a URL becomes base64."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable
from io import BytesIO
from pathlib import Path
from typing import Protocol

from PIL import Image

from openhorde.client.errors import HordeError

ImageSource = str | Path | bytes | Image.Image

BYTES_MAX = 16 << 20
TILE_PIXELS = 512
TILES_MAX = 255
"""So many squares of TILE_PIXELS, begun ones too, may be looked at."""
DOWNLOAD_SECONDS_MAX = 120.0


class Download(Protocol):
    """Fetches a URL: of what is longer, `bytes_max` bytes and one more."""

    def __call__(self, url: str, bytes_max: int | None = None) -> Awaitable[bytes]:
        """The content."""
        ...


async def source_base64(source: ImageSource, field: str, download: Download) -> str:
    """The picture as the wire wants it. URLs are fetched here: they may be private to this side."""
    if isinstance(source, str) and source.startswith("data:"):
        return source.partition(",")[2]
    return _encoded(await _content(source, field, download))


async def picture_base64(source: ImageSource, field: str, download: Download) -> str:
    """`source_base64` of what is surely a picture, and not too large to be looked at.

    Raises HordeError naming the field, the picture and the bound.
    """
    if isinstance(source, str) and source.startswith("data:"):
        content = _decoded(source, field)
    else:
        content = await _content(source, field, download)
    await asyncio.to_thread(_inspect, content, field, _name(source))
    return _encoded(content)


async def _content(source: ImageSource, field: str, download: Download) -> bytes:
    if isinstance(source, bytes):
        content = source
    elif isinstance(source, Image.Image):
        content = await asyncio.to_thread(_webp, source)
    elif isinstance(source, str) and source.startswith(("http://", "https://")):
        content = await _fetched(source, field, download)
    else:
        content = await asyncio.to_thread(_read, Path(source), field)
    if len(content) > BYTES_MAX:
        raise _refusal(
            field, _name(source), f"it has more than {BYTES_MAX >> 20} MiB, which is the most"
        )
    return content


async def _fetched(url: str, field: str, download: Download) -> bytes:
    try:
        async with asyncio.timeout(DOWNLOAD_SECONDS_MAX):
            return await download(url, BYTES_MAX)
    except TimeoutError:
        raise _refusal(
            field, url, f"it has not come whole within {DOWNLOAD_SECONDS_MAX:g} s"
        ) from None


def _read(path: Path, field: str) -> bytes:
    try:
        with path.expanduser().open("rb") as file:
            return file.read(BYTES_MAX + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise HordeError(
            0, None, f"Cannot read {field} {path} ({reason}). Give a file, bytes or a URL."
        ) from error


def _webp(picture: Image.Image) -> bytes:
    """Without loss, and without what a horde is not to know."""
    plain = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    plain.info.clear()
    written = BytesIO()
    plain.save(written, "WEBP", lossless=True)
    return written.getvalue()


def _inspect(content: bytes, field: str, name: str) -> None:
    try:
        with Image.open(BytesIO(content)) as picture:
            width, height = picture.size
            tiles = -(-width // TILE_PIXELS) * -(-height // TILE_PIXELS)
            if tiles <= TILES_MAX:
                picture.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _refusal(field, name, f"it is too large: {error}") from error
    except Exception as error:  # Pillow raises of every kind over broken data.
        raise _refusal(
            field, name, "it is not a picture that can be read. Give PNG, JPEG, WebP or GIF"
        ) from error
    if tiles > TILES_MAX:
        raise _refusal(
            field,
            name,
            f"it has {width}x{height} pixels, {tiles} squares of {TILE_PIXELS}x{TILE_PIXELS}. "
            f"Shrink it to at most {TILES_MAX}",
        )


def _decoded(url: str, field: str) -> bytes:
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except binascii.Error as error:
        raise _refusal(field, "as data: URL", f"it is not base64 ({error})") from error


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _name(source: ImageSource) -> str:
    """What messages call a picture."""
    if isinstance(source, bytes):
        return f"of {len(source)} bytes"
    if isinstance(source, Image.Image):
        return "of Pillow"
    return "as data: URL" if str(source).startswith("data:") else str(source)


def _refusal(field: str, name: str, reason: str) -> HordeError:
    return HordeError(0, None, f"Cannot use {field} {name}: {reason}.")
