# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures that a worker opens itself, as the horde gave them or from a link."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from openhorde.worker.agent import events
from openhorde.worker.backends.base import JobFault, Note, PictureJob
from openhorde.worker.backends.comfyui.pictures import read_fitting_sources
from openhorde.worker.backends.pictures import UNMASKED, read_picture, read_sources

CASES = Path(__file__).parents[1] / "cases"


def png(picture: Image.Image) -> bytes:
    """A file of it."""
    written = BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


def job(**changes: Any) -> PictureJob:
    """Inpainting at half the size of its source."""
    return PictureJob(
        id="1",
        model="m",
        prompt="a fox",
        width_pixels=32,
        height_pixels=32,
        repaint=True,
        **changes,
    )


def test_a_hole_and_a_mask_are_the_same_to_every_engine() -> None:
    picture = Image.merge("RGB", [Image.linear_gradient("L").resize((64, 64))] * 3)
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    holed = picture.copy()
    holed.putalpha(mask.point(lambda value: 255 - value))
    for read in (read_sources, read_fitting_sources):
        by_alpha = read(job(source=png(holed)))
        by_mask = read(job(source=png(picture), mask=png(mask)))
        assert by_alpha.picture is not None
        assert by_alpha.mask is not None
        assert by_mask.picture is not None
        assert by_mask.mask is not None
        assert by_alpha.picture.tobytes() == by_mask.picture.tobytes()
        assert by_alpha.mask.tobytes() == by_mask.mask.tobytes()


def test_a_sideways_picture_with_holes_is_upright_with_its_mask() -> None:
    picture = Image.new("RGBA", (64, 32), (9, 9, 9, 255))
    picture.paste((200, 0, 0, 0), (0, 0, 16, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    written = BytesIO()
    picture.save(written, "PNG", exif=exif)
    sources = read_sources(job(source=written.getvalue()))
    assert sources.picture is not None
    assert sources.mask is not None
    assert sources.picture.size == sources.mask.size == (32, 64)
    assert sources.mask.getbbox() == (0, 0, 32, 16)
    assert sources.picture.getpixel((5, 5)) == (200, 0, 0)


@pytest.mark.parametrize(
    "source", [Image.new("RGB", (8, 8)), Image.new("RGBA", (8, 8), (0, 0, 0, 255))]
)
def test_where_nothing_says_where_to_draw_all_is_drawn_anew(source: Image.Image) -> None:
    sources = read_sources(job(source=png(source)))
    assert sources.mask is not None
    assert sources.mask.getextrema() == (255, 255)
    assert [note.ref for note in sources.notes] == [UNMASKED]


def test_a_mask_that_selects_nothing_faults_the_job() -> None:
    black = png(Image.new("RGB", (8, 8)))
    with pytest.raises(JobFault, match="source_mask: it selects nothing") as fault:
        read_sources(job(source=black, mask=black))
    assert fault.value.notes == [Note(type="source_mask", value="parse_failed")]


@pytest.mark.parametrize(
    ("name", "told"), [("header.heic", "it is a HEIC picture"), ("x.tiff", "it is a TIFF picture")]
)
def test_formats_that_are_not_taken_are_named(name: str, told: str) -> None:
    with pytest.raises(JobFault, match=rf"source_image: .*{told}\. Send PNG, JPEG") as fault:
        read_picture((CASES / name).read_bytes(), "source_image")
    assert fault.value.notes == [Note(type="source_image", value="parse_failed")]


@pytest.mark.parametrize(
    ("name", "size"), [("comfy_big_ztxt.png", (128, 128)), ("exif_rot6.jpg", (128, 256))]
)
async def test_a_worker_that_opens_a_link_itself_sees_it_upright(
    horde: Any, start_worker: Any, name: str, size: tuple[int, int]
) -> None:
    horde.sources[name] = (CASES / name).read_bytes()
    horde.offer_form("RealESRGAN_x2plus", source_image=f"{horde.url}/source/{name}")
    worker = start_worker(backends=["fake"], kinds=["alchemy"])
    await worker.heard(events.Delivered)
    (upload,) = horde.uploads.values()
    with Image.open(BytesIO(upload)) as drawn:
        assert drawn.size == size
