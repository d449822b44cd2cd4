# SPDX-License-Identifier: AGPL-3.0-or-later
"""What goes into a workflow and comes out of one, as pictures of the size that is asked for."""

from io import BytesIO

from msgspec import Struct
from PIL import Image, ImageChops, ImageOps

from openhorde.worker.backends.base import JobFault, Note, PictureJob
from openhorde.worker.backends.pictures import PIXELS_MAX, read_picture
from openhorde.worker.backends.servers import EngineError

LANCZOS = Image.Resampling.LANCZOS


class Sources(Struct, frozen=True):
    """The source picture, RGB; and the mask, white where to draw, when this is inpainting."""

    picture: Image.Image | None = None
    mask: Image.Image | None = None


def read_sources(job: PictureJob) -> Sources:
    """What the job brings, in its size. Raises JobFault when it cannot be read, or there is no
    mask where there has to be one."""
    if job.source is None:
        return Sources()
    size = (job.width_pixels, job.height_pixels)
    picture = ImageOps.fit(read_picture(job.source, "source_image"), size, LANCZOS)
    if not job.repaint:
        return Sources(picture.convert("RGB"))
    if job.mask is not None:
        mask = read_picture(job.mask, "source_mask").convert("L")
        return Sources(picture.convert("RGB"), ImageOps.fit(mask, size, LANCZOS))
    if not picture.has_transparency_data:
        missing = [Note(type="source_mask", value="parse_failed")]
        raise JobFault("inpainting needs a mask, or a source with transparent parts", missing)
    picture = picture.convert("RGBA")
    return Sources(picture.convert("RGB"), ImageChops.invert(picture.getchannel("A")))


def read_result(content: bytes, job: PictureJob, sources: Sources) -> Image.Image:
    """The picture that was drawn, in the job's size; what the mask keeps is as it was.

    Raises EngineError when it is no picture, or much too large.
    """
    size = (job.width_pixels, job.height_pixels)
    try:
        with Image.open(BytesIO(content)) as opened:
            if opened.width * opened.height > PIXELS_MAX:
                raise EngineError(f"ComfyUI answered {opened.width}x{opened.height} pixels")
            drawn = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise EngineError(f"ComfyUI answered a file that is no picture: {error}") from error
    if drawn.size != size:
        drawn = drawn.resize(size, LANCZOS)
    if sources.picture is not None and sources.mask is not None:
        drawn = Image.composite(drawn, sources.picture, sources.mask)
    return drawn


def as_png(picture: Image.Image) -> bytes:
    """Encode for the way to the engine."""
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
