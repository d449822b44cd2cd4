# SPDX-License-Identifier: AGPL-3.0-or-later
"""Source pictures: fetched or decoded, bounded, and stored for the worker."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from PIL import Image

from openhorde.incoming.base64_text import Base64Refused, Base64TooLong, decode_base64
from openhorde.incoming.pictures import (
    Opened,
    PictureRefused,
    as_mask,
    as_png,
    has_holes,
    inspect,
    open_picture,
    selects_nothing,
)
from openhorde.server.actions.source_desk import Sender
from openhorde.server.domain.kinds.face import AnyKind, PictureFacts, Pictures, Source
from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.fetch import FetchRefused

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde

BYTES_MAX = 16 << 20

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

    @property
    def size_bytes(self) -> int:
        """What the copies take in the store."""
        return sum(len(copy.data) for _, _, copy in self.found if copy is not None)


NOTHING = Read(())


async def read(horde: "Horde", kind: AnyKind, request: Any, sender: Sender) -> Read:
    """Fetch or decode every source picture of a request.

    Raises Refusal naming the field and what is wrong with the picture, or when too many wait.
    """
    return Read(
        [(source, *await _read(horde, kind, source, sender)) for source in kind.sources(request)]
    )


async def keep(horde: "Horde", request_id: UUID, pictures: Read) -> None:
    """Store what was read, each picture at its place."""
    for source, _, copy in pictures.found:
        if copy is not None:
            key = _key(request_id, source, copy)
            await horde.blobs.put(key, copy.data, _MEDIA_TYPES[copy.ending])


def places(request_id: UUID, pictures: Read) -> dict[str, Any] | None:
    """What a request remembers of its pictures: keys by role, extra ones each with its strength,
    links by role. None when there is nothing."""
    if not pictures.found:
        return None
    kept: dict[str, Any] = {"extra": []}
    for source, _, copy in pictures.found:
        if source.linked and _is_url(source.text):
            kept.setdefault("links", {})[source.role] = source.text
        if copy is None:
            continue
        key = _key(request_id, source, copy)
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


def _key(request_id: UUID, source: Source, copy: Copy) -> str:
    return f"{request_id}_{source.role}.{copy.ending}"


async def _read(
    horde: "Horde", kind: AnyKind, source: Source, sender: Sender
) -> tuple[PictureFacts, Copy | None]:
    """What a source picture is, and a copy of it, if one is to be kept."""
    pixels_max = kind.source_pixels_max
    try:
        if _is_url(source.text):
            data = await horde.fetcher.get(source.text)
        else:
            data = await asyncio.to_thread(decode_base64, source.text, BYTES_MAX)
        head = await asyncio.to_thread(inspect, data, bytes_max=BYTES_MAX, pixels_max=pixels_max)
        kind.check_source(source, PictureFacts(head.width, head.height))
        # Old workers take a link for a picture unless it says https: for these there is a copy.
        is_left = source.linked and source.text.startswith("https://")
        decode = partial(_decode, source, data, pixels_max, is_left)
        pixels = head.width * head.height
        return await horde.source_desk.decode(sender, pixels, len(data), decode)
    except FetchRefused as refused:
        code = _FETCH_CODES.get(refused.reason, "ImageValidationFailed")
        raise Refusal(code, field=source.field, reason=refused.detail) from None
    except Base64Refused as refused:
        too_long = isinstance(refused, Base64TooLong)
        code = "SourceImageSizeExceeded" if too_long else "ImageValidationFailed"
        raise Refusal(code, field=source.field, reason=str(refused)) from None
    except PictureRefused as refused:
        code = _PICTURE_CODES.get(refused.reason, "ImageValidationFailed")
        raise Refusal(code, field=source.field, reason=refused.detail) from None


def _decode(
    source: Source, data: bytes, pixels_max: int, is_left: bool
) -> tuple[PictureFacts, Copy | None]:
    """See that a picture is whole and what it shows; a copy of it unless it is left where it is."""
    opened = open_picture(data, pixels_max=pixels_max)
    mask = as_mask(opened.picture) if source.is_mask else None
    facts = PictureFacts(
        *opened.picture.size,
        has_holes=has_holes(opened.picture),
        is_blank=mask is not None and selects_nothing(mask),
    )
    if is_left:
        return facts, None
    return facts, Copy(*(_stored_mask(opened, mask) if mask is not None else opened.stored))


def _stored_mask(opened: Opened, mask: Image.Image) -> tuple[bytes, str]:
    """A mask as every worker understands it: without transparency."""
    return opened.stored if opened.picture.mode == "RGB" else (as_png(mask), "png")


def _is_url(text: str) -> bool:
    return text[:8].lower().startswith(("http://", "https://"))
