# SPDX-License-Identifier: AGPL-3.0-or-later
"""Source pictures on their way from the requester through the horde to a worker's engine."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cast import CLIENT, Cast, alchemy_request, ask, ask_forms, image_request
from PIL import Image

from openhorde.server.actions import requests
from openhorde.server.actions.horde import Horde
from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.fetch import Fetcher
from openhorde.worker.backends.base import PictureJob
from openhorde.worker.backends.pictures import read_picture, read_sources

CASES = Path(__file__).parents[1] / "cases"
URL = "https://pictures.test/a.png"
WAYS = ["base64", "link"]


def case(name: str) -> bytes:
    """A file that was reported."""
    return (CASES / name).read_bytes()


def png(picture: Image.Image) -> bytes:
    """A file of it."""
    written = BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


def hidden_colours() -> Image.Image:
    """A gradient, of which the left half is transparent."""
    bands = [Image.linear_gradient("L").resize((64, 64)), Image.new("L", (64, 64), 90)]
    picture = Image.merge("RGB", (*bands, bands[0].rotate(90)))
    alpha = Image.new("L", (64, 64), 255)
    alpha.paste(0, (0, 0, 32, 64))
    picture.putalpha(alpha)
    return picture


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Any:
    """How a picture is sent: in base64, or as a link that leads to it."""

    def sent(data: bytes, way: str) -> str:
        async def get(self: Fetcher, url: str) -> bytes:
            return data

        if way == "base64":
            return base64.b64encode(data).decode()
        monkeypatch.setattr(Fetcher, "get", get)
        return URL

    return sent


async def stored(horde: Horde, request_id: UUID, role: str = "image") -> bytes:
    """What a worker is given."""
    kept = await horde.pool.fetchval("select sources from requests where id = $1", request_id)
    content = await horde.blobs.get(kept[role])
    assert content is not None
    return content


def job(**changes: Any) -> PictureJob:
    """Inpainting, as an engine sees it."""
    return PictureJob(
        id="1",
        model="m",
        prompt="a fox",
        width_pixels=64,
        height_pixels=64,
        repaint=True,
        **changes,
    )


@pytest.mark.parametrize("way", WAYS)
async def test_inpainting_by_alpha_is_inpainting_by_mask(
    horde: Horde, cast: Cast, send: Any, way: str
) -> None:
    alice = await cast.alice()
    holed = hidden_colours()
    by_alpha = await ask(
        horde, alice, source_image=send(png(holed), way), source_processing="inpainting"
    )
    seen_by_alpha = read_sources(job(source=await stored(horde, by_alpha)))
    mask = holed.getchannel("A").point(lambda value: 255 - value)
    by_mask = await ask(
        horde,
        alice,
        source_image=base64.b64encode(png(holed.convert("RGB"))).decode(),
        source_mask=base64.b64encode(png(mask)).decode(),
        source_processing="inpainting",
    )
    seen_by_mask = read_sources(
        job(source=await stored(horde, by_mask), mask=await stored(horde, by_mask, "mask"))
    )
    for seen in (seen_by_alpha, seen_by_mask):
        assert seen.picture is not None
        assert seen.mask is not None
        assert seen.picture.tobytes() == holed.convert("RGB").tobytes()
        assert seen.mask.tobytes() == mask.tobytes()


@pytest.mark.parametrize("way", WAYS)
async def test_strokes_on_a_transparent_layer_reach_every_worker_as_a_mask(
    horde: Horde, cast: Cast, send: Any, way: str
) -> None:
    alice = await cast.alice()
    layer = case("mask_alpha_black.png")
    source = base64.b64encode(png(Image.new("RGB", (64, 64)))).decode()
    asked = await ask(
        horde,
        alice,
        source_image=source if way == "base64" else send(png(Image.new("RGB", (64, 64))), way),
        source_mask=base64.b64encode(layer).decode(),
        source_processing="inpainting",
    )
    with Image.open(BytesIO(await stored(horde, asked, "mask"))) as mask:
        assert mask.mode == "L"
        with Image.open(BytesIO(layer)) as drawn:
            assert mask.tobytes() == drawn.getchannel("A").tobytes()


@pytest.mark.parametrize(
    "mask", [Image.new("RGB", (8, 8)), Image.new("RGBA", (8, 8)), Image.new("L", (8, 8), 100)]
)
async def test_a_mask_that_selects_nothing_is_refused(
    horde: Horde, cast: Cast, mask: Image.Image
) -> None:
    source, given = (base64.b64encode(png(one)).decode() for one in (hidden_colours(), mask))
    with pytest.raises(Refusal) as refused:
        await ask(
            horde,
            await cast.alice(),
            source_image=source,
            source_mask=given,
            source_processing="inpainting",
        )
    assert refused.value.code == "InpaintingMissingMask"
    assert refused.value.facts == {"reason": "blank mask"}


async def test_a_source_that_is_transparent_nowhere_needs_a_mask(horde: Horde, cast: Cast) -> None:
    opaque = base64.b64encode(png(Image.new("RGBA", (8, 8), (1, 2, 3, 255)))).decode()
    with pytest.raises(Refusal) as refused:
        await ask(horde, await cast.alice(), source_image=opaque, source_processing="inpainting")
    assert refused.value.code == "InpaintingMissingMask"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "size"), [("comfy_big_ztxt.png", (64, 64)), ("exif_rot6.jpg", (64, 128))]
)
async def test_odd_but_sound_pictures_are_taken(
    horde: Horde, cast: Cast, send: Any, way: str, name: str, size: tuple[int, int]
) -> None:
    alice = await cast.alice()
    drawn = await ask(horde, alice, source_image=send(case(name), way))
    content = await stored(horde, drawn)
    assert read_picture(content, "source_image").size == size
    assert b"zTXt" not in content
    assert b"Exif" not in content
    looked_at = await ask_forms(horde, alice, "caption", source_image=send(case(name), way))
    if way == "base64":
        assert read_picture(await stored(horde, looked_at), "source_image").size == size
    # A worker that opens the link itself sees the same.
    assert read_picture(case(name), "source_image").size == size


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "told"), [("header.heic", "it is a HEIC picture"), ("x.tiff", "it is a TIFF picture")]
)
async def test_formats_that_are_not_taken_are_named(
    horde: Horde, cast: Cast, send: Any, way: str, name: str, told: str
) -> None:
    alice = await cast.alice()
    asked = (
        image_request(source_image=send(case(name), way)),
        alchemy_request("caption", source_image=send(case(name), way)),
    )
    for request in asked:
        with pytest.raises(Refusal) as refused:
            await requests.submit(horde, alice, request, CLIENT)
        assert refused.value.code == "ImageValidationFailed"
        assert refused.value.facts == {"field": "source_image", "reason": told}


async def test_a_source_takes_no_more_room_than_it_came_with(horde: Horde, cast: Cast) -> None:
    written = BytesIO()
    noise = Image.merge("RGB", [Image.effect_noise((512, 512), 80)] * 3)
    noise.putalpha(Image.effect_noise((512, 512), 80))
    noise.save(written, "WEBP", quality=30)
    sent = written.getvalue()
    asked = await ask_forms(
        horde, await cast.alice(), "caption", source_image=base64.b64encode(sent).decode()
    )
    assert len(await stored(horde, asked)) <= len(sent)
