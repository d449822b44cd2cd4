# SPDX-License-Identifier: AGPL-3.0-or-later
"""Source pictures: a path, the bytes, a picture of Pillow's or a URL becomes base64."""

import asyncio
import base64
from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol

from PIL import Image

from openhorde.client.errors import HordeError
from openhorde.incoming.base64_text import Base64Refused, decode_base64
from openhorde.incoming.formats import taken_words
from openhorde.incoming.pictures import PictureRefused, inspect, open_picture, to_lossless_webp

ImageSource = str | Path | bytes | Image.Image

BYTES_MAX = 16 << 20
TILE_PIXELS = 512
TILES_MAX = 255
"""So many squares of TILE_PIXELS, begun ones too, may be looked at."""
PIXELS_MAX = TILES_MAX * TILE_PIXELS**2
HEADER_PIXELS_MAX = 10**9
"""Of larger pictures not even the sides are told."""
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
    elif isinstance(source, str) and source[:8].lower().startswith(("http://", "https://")):
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
    return to_lossless_webp(plain)


def _inspect(content: bytes, field: str, name: str) -> None:
    try:
        facts = inspect(content, bytes_max=BYTES_MAX, pixels_max=HEADER_PIXELS_MAX)
        tiles = -(-facts.width // TILE_PIXELS) * -(-facts.height // TILE_PIXELS)
        if tiles <= TILES_MAX:
            open_picture(content, pixels_max=PIXELS_MAX)
    except PictureRefused as refused:
        if refused.reason == "too_many_pixels":
            raise _refusal(field, name, f"it is too large ({refused.detail})") from refused
        raise _refusal(
            field,
            name,
            f"no picture can be read from it ({refused.detail}). Give {taken_words()}",
        ) from refused
    if tiles > TILES_MAX:
        raise _refusal(
            field,
            name,
            f"it has {facts.width}x{facts.height} pixels, {tiles} squares of "
            f"{TILE_PIXELS}x{TILE_PIXELS}. Shrink it to at most {TILES_MAX}",
        )


def _decoded(url: str, field: str) -> bytes:
    try:
        return decode_base64(url, BYTES_MAX)
    except Base64Refused as refused:
        raise _refusal(field, "as data: URL", f"it is not base64 ({refused})") from refused


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
