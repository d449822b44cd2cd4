# SPDX-License-Identifier: AGPL-3.0-or-later
"""What goes into a workflow and comes out of one, as pictures of the size that is asked for."""

from io import BytesIO

from PIL import Image, ImageOps

from openhorde.incoming.pictures import PictureRefused, open_picture
from openhorde.worker.backends.base import PictureJob
from openhorde.worker.backends.pictures import PIXELS_MAX, Sources, read_sources
from openhorde.worker.backends.servers import EngineError

LANCZOS = Image.Resampling.LANCZOS


def read_fitting_sources(job: PictureJob) -> Sources:
    """What the job brings, in its size. Raises JobFault as `read_sources`."""
    sources, size = read_sources(job), (job.width_pixels, job.height_pixels)
    return Sources(_fitted(sources.picture, size), _fitted(sources.mask, size), sources.notes)


def _fitted(picture: Image.Image | None, size: tuple[int, int]) -> Image.Image | None:
    return None if picture is None else ImageOps.fit(picture, size, LANCZOS)


def read_result(content: bytes, job: PictureJob, sources: Sources) -> Image.Image:
    """The picture that was drawn, in the job's size; what the mask keeps is as it was.

    Raises EngineError when it is no picture, or much too large.
    """
    size = (job.width_pixels, job.height_pixels)
    try:
        drawn = open_picture(content, pixels_max=PIXELS_MAX).picture.convert("RGB")
    except PictureRefused as refused:
        raise EngineError(
            f"ComfyUI answered a file that is no picture: {refused.detail}"
        ) from refused
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
