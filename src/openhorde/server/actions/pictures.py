# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finished pictures: where they are kept, and those that come in the body of a submit."""

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

from openhorde.incoming.base64_text import Base64Refused, decode_base64
from openhorde.incoming.pictures import PictureRefused, open_picture, to_webp
from openhorde.server.domain.kinds.face import SentPicture
from openhorde.server.domain.refusals import Refusal

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde

PIXELS_MAX = 16 * 3072 * 3072
"""Four times the largest side, both ways: what the largest upscaler makes of it."""

BYTES_MAX = 24 << 20
QUALITY = 95


def picture_key(job_id: UUID) -> str:
    """Where a job's picture is kept."""
    return f"{job_id}.webp"


async def keep_picture(horde: "Horde", job_id: UUID, sent: SentPicture) -> None:
    """Store a picture that came as base64. Raises Refusal ImageValidationFailed."""
    try:
        webp = await asyncio.to_thread(_convert, sent.text)
    except PictureRefused as refused:
        raise Refusal("ImageValidationFailed", field=sent.field, reason=refused.detail) from None
    except Base64Refused as refused:
        raise Refusal("ImageValidationFailed", field=sent.field, reason=str(refused)) from None
    await horde.blobs.put(picture_key(job_id), webp, "image/webp")


def _convert(text: str) -> bytes:
    """As WebP: one that comes so keeps its very pixels."""
    opened = open_picture(decode_base64(text, BYTES_MAX), pixels_max=PIXELS_MAX)
    if opened.bare is not None and opened.format == "WEBP":
        return opened.bare
    return to_webp(opened.picture, QUALITY)
