# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures between the wire's bytes and Pillow."""

from io import BytesIO
from typing import Literal

from msgspec import Struct, field
from PIL import Image, ImageOps

from openhorde.incoming.formats import taken_words
from openhorde.incoming.pictures import (
    PictureRefused,
    as_mask,
    has_holes,
    holes,
    open_picture,
    selects_nothing,
)
from openhorde.worker.backends.base import JobFault, Note, PictureJob, information

WEBP_QUALITY = 95
PIXELS_MAX = 255 * 512 * 512
"""As many as a form of alchemy may have."""

UNMASKED = "without a mask or transparent parts in the source, the whole picture was drawn anew"


class Sources(Struct, frozen=True):
    """The source picture, RGB; the mask of the same size, white where to draw, when this is
    inpainting; and what the requester should know of them."""

    picture: Image.Image | None = None
    mask: Image.Image | None = None
    notes: list[Note] = field(default_factory=list)


def read_picture(content: bytes, role: Literal["source_image", "source_mask"]) -> Image.Image:
    """Decode an image file: upright, RGB or RGBA. Raises JobFault when that cannot be done, or it
    has more than PIXELS_MAX pixels."""
    try:
        return open_picture(content, pixels_max=PIXELS_MAX).picture
    except PictureRefused as refused:
        raise JobFault(
            f"{role}: it cannot be read: {refused.detail}. Send {taken_words()}",
            [Note(type=role, value="parse_failed")],
        ) from refused


def read_sources(job: PictureJob) -> Sources:
    """What the job brings. Colours under transparency are as they came, so a source with holes and
    one with a mask are the same to an engine. Where nothing says where to draw, all is drawn anew.

    Raises JobFault when a picture cannot be read, or a mask selects nothing.
    """
    if job.source is None:
        return Sources()
    picture = read_picture(job.source, "source_image")
    if not job.repaint:
        return Sources(picture.convert("RGB"))
    if job.mask is not None:
        mask = as_mask(read_picture(job.mask, "source_mask"))
        if selects_nothing(mask):
            raise JobFault(
                "source_mask: it selects nothing; paint white where to draw",
                [Note(type="source_mask", value="parse_failed")],
            )
        fitted = ImageOps.fit(mask, picture.size, Image.Resampling.LANCZOS)
        return Sources(picture.convert("RGB"), fitted)
    if not has_holes(picture):
        everything = Image.new("L", picture.size, 255)
        return Sources(picture.convert("RGB"), everything, [information(UNMASKED)])
    return Sources(picture.convert("RGB"), holes(picture))


def write_webp(picture: Image.Image) -> bytes:
    """Encode as the wire wants it; colours under transparency stay."""
    buffer = BytesIO()
    picture.save(buffer, "WEBP", quality=WEBP_QUALITY, method=6, exact=True)
    return buffer.getvalue()
