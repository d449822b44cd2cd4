# SPDX-License-Identifier: AGPL-3.0-or-later
"""Source pictures: fetched or decoded, bounded, and stored for the worker."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from openhorde.server.domain.kinds.face import AnyKind, PictureFacts, Pictures, Source
from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.fetch import FetchRefused
from openhorde.server.kit.pictures import (
    PictureRefused,
    check_whole,
    decode_base64,
    inspect,
    to_jpeg_or_png,
    to_webp,
)

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde

BYTES_MAX = 16 << 20
QUALITY = 90

LARGE_PIXELS = 3072 * 3072
_large = ThreadPoolExecutor(1, thread_name_prefix="large-pictures")
"""Larger pictures than that are decoded one at a time: each takes hundreds of megabytes."""

_MEDIA_TYPES = {"webp": "image/webp", "jpg": "image/jpeg", "png": "image/png"}
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
class Copy:
    """A picture as it is stored: `ending` says of what format it is."""

    data: bytes
    ending: str


@dataclass(frozen=True, slots=True)
class Read:
    """Source pictures that were looked at: each with what it was found to be, and a copy unless it
    is left where it is."""

    found: Sequence[tuple[Source, PictureFacts, Copy | None]]

    @property
    def facts(self) -> Pictures:
        """What was found out, by role."""
        return {source.role: facts for source, facts, _ in self.found}


NOTHING = Read(())


async def read(horde: "Horde", kind: AnyKind, request: Any) -> Read:
    """Fetch or decode every source picture of a request.

    Raises Refusal naming the field and what is wrong with the picture.
    """
    return Read([(source, *await _read(horde, kind, source)) for source in kind.sources(request)])


async def keep(horde: "Horde", request_id: UUID, pictures: Read) -> dict[str, Any] | None:
    """Store what was read; what the request remembers of it: keys by role, extra ones each with
    its strength, links by role. None when there is nothing."""
    if not pictures.found:
        return None
    kept: dict[str, Any] = {"extra": []}
    for source, _, copy in pictures.found:
        if source.linked and _is_url(source.text):
            kept.setdefault("links", {})[source.role] = source.text
        if copy is None:
            continue
        key = f"{request_id}_{source.role}.{copy.ending}"
        await horde.blobs.put(key, copy.data, _MEDIA_TYPES[copy.ending])
        if source.strength is None:
            kept[source.role] = key
        else:
            kept["extra"].append((key, source.strength))
    return kept


def source_keys(kept: dict[str, Any] | None) -> Iterator[str]:
    """All keys that a request remembers."""
    for role, key in (kept or {}).items():
        if role == "extra":
            yield from (extra for extra, _ in key)
        elif role != "links":
            yield key


async def _read(horde: "Horde", kind: AnyKind, source: Source) -> tuple[PictureFacts, Copy | None]:
    """What a source picture is, and a copy of it, if one is to be kept."""
    pixels_max = kind.source_pixels_max
    try:
        if _is_url(source.text):
            data = await horde.fetcher.get(source.text)
        else:
            data = await asyncio.to_thread(decode_base64, source.text, BYTES_MAX)
        head = await asyncio.to_thread(inspect, data, bytes_max=BYTES_MAX, pixels_max=pixels_max)
        facts = PictureFacts(head.width, head.height, head.bands == 4)
        kind.check_source(source, facts)
        # Old workers take a link for a picture unless it says https: for these there is a copy.
        is_left = source.linked and source.text.startswith("https://")
        is_large = facts.width * facts.height > LARGE_PIXELS
        copy = await asyncio.get_running_loop().run_in_executor(
            _large if is_large else None, _decode, data, pixels_max, is_left, is_large
        )
    except FetchRefused as refused:
        code = _FETCH_CODES.get(refused.reason, "ImageValidationFailed")
        raise Refusal(code, field=source.field, reason=refused.reason) from None
    except PictureRefused as refused:
        code = _PICTURE_CODES.get(refused.reason, "ImageValidationFailed")
        raise Refusal(code, field=source.field, reason=refused.reason) from None
    return facts, copy


def _decode(data: bytes, pixels_max: int, is_left: bool, is_large: bool) -> Copy | None:
    """See that a picture is whole, and copy it. The encoder of WebP is slow with large ones, and
    cannot do some of them at all."""
    if is_left:
        check_whole(data, pixels_max=pixels_max)
        return None
    if is_large:
        return Copy(*to_jpeg_or_png(data, quality=QUALITY, pixels_max=pixels_max))
    return Copy(to_webp(data, quality=QUALITY, pixels_max=pixels_max), "webp")


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))
