# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finished pictures: where workers upload them, and where they are kept once they are handed in.

What has been paid for stays as it was. A worker's link leads to a place of its own, which nobody
reads but a delivery: that copies what lies there to a key that no link for writing was ever made
for, and the job remembers the key.
"""

import asyncio
import secrets
from typing import TYPE_CHECKING
from uuid import UUID

from openhorde.incoming.base64_text import Base64Refused, decode_base64
from openhorde.incoming.formats import SIGNATURE_BYTES, begins_a_picture
from openhorde.incoming.pictures import PictureRefused, open_picture, to_webp
from openhorde.server.domain.kinds.face import SentPicture, UploadedPicture
from openhorde.server.domain.lives import State
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import work

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde

PIXELS_MAX = 16 * 3072 * 3072
"""Four times the largest side, both ways: what the largest upscaler makes of it."""

BYTES_MAX = 24 << 20
QUALITY = 95
_UPLOADS = "uploads/"
_ENDING = ".webp"


def upload_key(job_id: UUID) -> str:
    """Where a worker uploads a job's picture."""
    return f"{_UPLOADS}{job_id}{_ENDING}"


async def is_upload_open(horde: "Horde", key: str) -> bool:
    """May a link for uploading to this key still be used? Not once the job is done or forgotten."""
    if not key.startswith(_UPLOADS):
        return True
    job_id = UUID(key.removeprefix(_UPLOADS).removesuffix(_ENDING))
    return await work.job_state(horde.statements, job_id) not in (None, State.DONE)


async def keep_picture(horde: "Horde", job_id: UUID, picture: SentPicture | UploadedPicture) -> str:
    """Keep the picture of a job under a new key, and return the key.

    Raises Refusal ImageValidationFailed for a picture that cannot be read, or was never uploaded.
    """
    key = f"{job_id}-{secrets.token_hex(8)}{_ENDING}"
    if isinstance(picture, UploadedPicture):
        await _copy_upload(horde, upload_key(job_id), key, picture.field)
        return key
    try:
        webp = await asyncio.to_thread(_convert, picture.text)
    except PictureRefused as refused:
        raise Refusal("ImageValidationFailed", field=picture.field, reason=refused.detail) from None
    except Base64Refused as refused:
        raise Refusal("ImageValidationFailed", field=picture.field, reason=str(refused)) from None
    await horde.blobs.put(key, webp, "image/webp")
    return key


async def _copy_upload(horde: "Horde", uploaded: str, key: str, field: str) -> None:
    head = await horde.blobs.peek(uploaded, SIGNATURE_BYTES)
    if head is None:
        raise Refusal("ImageValidationFailed", field=field, reason="not_uploaded")
    # A bucket takes whatever is sent to a link of its own.
    if head.size_bytes > BYTES_MAX:
        raise Refusal("ImageValidationFailed", field=field, reason=f"more than {BYTES_MAX} bytes")
    if not begins_a_picture(head.first):
        raise Refusal("ImageValidationFailed", field=field, reason="it is no picture")
    try:
        await horde.blobs.copy(uploaded, key)
    except FileNotFoundError:
        raise Refusal("ImageValidationFailed", field=field, reason="not_uploaded") from None


def _convert(text: str) -> bytes:
    """As WebP: one that comes so keeps its very pixels."""
    opened = open_picture(decode_base64(text, BYTES_MAX), pixels_max=PIXELS_MAX)
    if opened.bare is not None and opened.format == "WEBP":
        return opened.bare
    return to_webp(opened.picture, QUALITY)
