# SPDX-License-Identifier: AGPL-3.0-or-later
"""Source pictures: fetched or decoded, bounded, and stored for the worker."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.fetch import FetchRefused
from openhorde.server.kit.pictures import PictureRefused, decode_base64, inspect, to_webp
from openhorde.wire.requests import ImageRequest

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde

PIXELS_MAX = 3072 * 3072
BYTES_MAX = 16 << 20
QUALITY = 90

_FETCH_CODES = {
    "too_large": "SourceImageSizeExceeded",
    "invalid_url": "SourceImageUrlInvalid",
    "forbidden_address": "SourceImageUrlInvalid",
}
_PICTURE_CODES = {
    "too_many_pixels": "SourceImageResolutionExceeded",
    "too_many_bytes": "SourceImageSizeExceeded",
}


@dataclass(frozen=True, slots=True)
class Sources:
    """The stored source pictures of a request: keys by role, as the request remembers
    them; extra ones each with its strength."""

    keys: dict[str, Any]
    has_alpha: bool


async def take(horde: "Horde", request_id: UUID, request: ImageRequest) -> Sources | None:
    """Fetch or decode every source picture of a request and store it; None when it has none.

    Raises Refusal naming the field and what is wrong with the picture. Nothing is kept then.
    """
    wanted: list[tuple[str, str, str]] = []
    if request.source_image:
        wanted.append(("image", "source_image", request.source_image))
    if request.source_mask:
        wanted.append(("mask", "source_mask", request.source_mask))
    for place, extra in enumerate(request.extra_source_images):
        wanted.append((f"extra-{place}", f"extra_source_images.{place}", extra.image))
    if not wanted:
        return None
    pictures = [await _read(horde, field, text) for _, field, text in wanted]
    keys: dict[str, Any] = {"extra": []}
    for (role, _, _), (webp, _) in zip(wanted, pictures, strict=True):
        key = f"{request_id}_{role}.webp"
        await horde.blobs.put(key, webp, "image/webp")
        if role in ("image", "mask"):
            keys[role] = key
        else:
            strength = request.extra_source_images[len(keys["extra"])].strength
            keys["extra"].append((key, strength))
    return Sources(keys, has_alpha=bool(request.source_image) and pictures[0][1])


def source_keys(sources: dict[str, Any] | None) -> Iterator[str]:
    """All keys that a request remembers."""
    if sources:
        yield from (sources[role] for role in ("image", "mask") if role in sources)
        yield from (key for key, _ in sources["extra"])


async def _read(horde: "Horde", field: str, text: str) -> tuple[bytes, bool]:
    """A source as WebP, and whether it came with an alpha channel."""
    try:
        if text.startswith(("http://", "https://")):
            data = await horde.fetcher.get(text)
        else:
            data = await asyncio.to_thread(decode_base64, text, BYTES_MAX)
        return await asyncio.to_thread(_convert, data)
    except FetchRefused as refused:
        code = _FETCH_CODES.get(refused.reason, "ImageValidationFailed")
        raise Refusal(code, field=field, reason=refused.reason) from None
    except PictureRefused as refused:
        code = _PICTURE_CODES.get(refused.reason, "ImageValidationFailed")
        raise Refusal(code, field=field, reason=refused.reason) from None


def _convert(data: bytes) -> tuple[bytes, bool]:
    facts = inspect(data, bytes_max=BYTES_MAX, pixels_max=PIXELS_MAX)
    webp = to_webp(data, quality=QUALITY, pixels_max=PIXELS_MAX)
    return webp, facts.bands == 4
