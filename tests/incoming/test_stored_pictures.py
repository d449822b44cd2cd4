# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is stored of a picture: the same pixels, not much more bytes, and nothing beside them."""

import random
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from openhorde.incoming.pictures import (
    as_mask,
    has_holes,
    holes,
    open_picture,
    selects_nothing,
    to_lossless_webp,
    to_webp,
)

CASES = Path(__file__).parents[1] / "cases"
PLENTY = 1_000_000
SECRET = b"a street and a number"


def noise(mode: str, size: tuple[int, int] = (60, 40)) -> Image.Image:
    """A picture in which no two pixels are alike, transparent in its left half if it can be."""
    bands = {"LA": 2, "RGB": 3, "RGBA": 4}.get(mode, 1)
    made = Image.frombytes(mode, size, random.Random(7).randbytes(size[0] * size[1] * bands))
    if mode in ("RGBA", "LA"):
        alpha = Image.new("L", size, 255)
        alpha.paste(0, (0, 0, size[0] // 2, size[1]))
        made.putalpha(alpha)
    return made


def file_of(picture: Image.Image, kind: str, **options: object) -> bytes:
    """A file of it, with something private beside the pixels."""
    exif = Image.Exif()
    exif[0x0112] = options.pop("orientation", 1)
    exif[0x010E] = SECRET.decode()
    if kind not in ("GIF", "BMP"):
        options["exif"] = exif
    written = BytesIO()
    picture.save(written, kind, **options)
    return written.getvalue()


FILES = {
    **{f"PNG {mode}": file_of(noise(mode), "PNG") for mode in ("RGB", "RGBA", "L", "LA")},
    "PNG P": file_of(noise("RGB").quantize(16), "PNG"),
    "PNG P with a hole": file_of(noise("RGB").quantize(16), "PNG", transparency=3),
    "PNG sideways": file_of(noise("RGBA"), "PNG", orientation=8),
    "PNG animated": file_of(
        noise("RGBA"), "PNG", save_all=True, append_images=[Image.new("RGBA", (60, 40))]
    ),
    "JPEG": file_of(noise("RGB"), "JPEG"),
    "JPEG of greys": file_of(noise("L"), "JPEG"),
    "JPEG progressive": file_of(noise("RGB"), "JPEG", progressive=True),
    "JPEG with a comment": file_of(noise("RGB"), "JPEG", comment=SECRET),
    "JPEG sideways": file_of(noise("RGB"), "JPEG", orientation=6),
    "JPEG of inks": file_of(Image.new("CMYK", (60, 40), (9, 99, 200, 30)), "JPEG"),
    "WebP": file_of(noise("RGB"), "WEBP"),
    "WebP with holes": file_of(noise("RGBA"), "WEBP"),
    "WebP lossless": file_of(noise("RGBA"), "WEBP", lossless=True, exact=True),
    "WebP sideways": file_of(noise("RGBA"), "WEBP", lossless=True, exact=True, orientation=3),
    "WebP sideways with loss": file_of(noise("RGBA"), "WEBP", orientation=3),
    "WebP animated": file_of(
        noise("RGB"), "WEBP", save_all=True, append_images=[Image.new("RGB", (60, 40))]
    ),
    "GIF": file_of(noise("RGB").quantize(16), "GIF"),
    "BMP": file_of(noise("RGB"), "BMP"),
    "AVIF": file_of(noise("RGB"), "AVIF"),
    "AVIF with holes": file_of(noise("RGBA"), "AVIF"),
}
WITH_LOSS = {
    *("JPEG sideways", "JPEG of inks", "WebP sideways with loss", "WebP animated", "AVIF"),
    "AVIF with holes",
}
"""Files that had lost something already, and have to be written anew."""


@pytest.mark.parametrize("name", FILES)
def test_what_is_stored_shows_the_same_and_nothing_else(name: str) -> None:
    opened = open_picture(FILES[name], pixels_max=PLENTY)
    stored, ending = opened.stored
    again = open_picture(stored, pixels_max=PLENTY)
    assert again.bare is not None
    assert {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}[again.format] == ending
    assert (again.picture.size, again.picture.mode) == (opened.picture.size, opened.picture.mode)
    assert (again.picture.tobytes() == opened.picture.tobytes()) == (name not in WITH_LOSS)
    assert SECRET not in stored
    with Image.open(BytesIO(stored)) as file:
        assert not file.getexif()
        assert getattr(file, "n_frames", 1) == 1


@pytest.mark.parametrize("name", FILES)
def test_what_is_stored_is_about_as_large_as_what_came(name: str) -> None:
    stored, _ = open_picture(FILES[name], pixels_max=PLENTY).stored
    assert len(stored) <= 3 * len(FILES[name]) + 1000


def test_a_picture_with_loss_grows_only_as_far_as_its_pixels() -> None:
    """The one that took 12 times its size on disk."""
    came = file_of(noise("RGBA", (600, 400)), "WEBP", quality=10)
    stored, _ = open_picture(came, pixels_max=PLENTY).stored
    assert len(stored) <= len(came)


def test_colours_stay_where_nobody_sees_them() -> None:
    picture = noise("RGBA")
    for written in (to_lossless_webp(picture), open_picture(FILES["PNG RGBA"], pixels_max=PLENTY)):
        data = written if isinstance(written, bytes) else written.stored[0]
        assert open_picture(data, pixels_max=PLENTY).picture.tobytes() == picture.tobytes()
    plain = Image.new("RGBA", (32, 32), (200, 30, 40, 0))
    hidden = open_picture(to_webp(plain, 95), pixels_max=PLENTY).picture.getpixel((16, 16))
    assert isinstance(hidden, tuple)
    assert all(abs(is_ - was) < 8 for is_, was in zip(hidden, (200, 30, 40, 0), strict=True))


def strokes(colour: tuple[int, int, int, int], under: tuple[int, int, int, int]) -> Image.Image:
    """A bar of one colour at the left, on something."""
    layer = Image.new("RGBA", (8, 4), under)
    layer.paste(colour, (0, 0, 4, 4))
    return layer


LEFT = b"\xff\xff\xff\xff\0\0\0\0" * 4


@pytest.mark.parametrize(
    "layer",
    [
        strokes((0, 0, 0, 255), (0, 0, 0, 0)),
        strokes((255, 255, 255, 255), (0, 0, 0, 0)),
        strokes((255, 255, 255, 255), (255, 255, 255, 0)),
        strokes((200, 0, 0, 255), (255, 255, 255, 0)),
        strokes((255, 255, 255, 255), (0, 0, 0, 255)),
        strokes((255, 255, 255, 255), (0, 0, 0, 254)),
        strokes((255, 255, 255, 255), (0, 0, 0, 255)).convert("RGB"),
        strokes((255, 255, 255, 255), (0, 0, 0, 255)).convert("L").convert("RGB"),
    ],
)
def test_the_strokes_of_a_layer_are_the_mask(layer: Image.Image) -> None:
    mask = as_mask(layer)
    assert mask.tobytes() == LEFT
    assert not selects_nothing(mask)


@pytest.mark.parametrize(
    "layer",
    [
        Image.new("RGBA", (8, 4)),
        Image.new("RGBA", (8, 4), (255, 255, 255, 0)),
        Image.new("RGBA", (8, 4), (0, 0, 0, 255)),
        Image.new("RGB", (8, 4)),
        Image.new("RGB", (8, 4), (90, 90, 90)),
    ],
)
def test_a_mask_that_selects_nothing_is_seen(layer: Image.Image) -> None:
    assert selects_nothing(as_mask(layer))


def test_holes_are_where_a_picture_is_less_than_half_opaque() -> None:
    for alpha, expected in ((0, True), (127, True), (128, False), (255, False)):
        picture = Image.new("RGBA", (2, 2), (9, 9, 9, alpha))
        assert has_holes(picture) == expected
        assert holes(picture).getpixel((0, 0)) == 255 - alpha
    assert not has_holes(Image.new("RGB", (2, 2)))


def test_the_reported_pictures_open() -> None:
    packed = open_picture((CASES / "comfy_big_ztxt.png").read_bytes(), pixels_max=PLENTY)
    assert packed.picture.size == (64, 64)
    assert b"zTXt" not in packed.stored[0]
    sideways = open_picture((CASES / "exif_rot6.jpg").read_bytes(), pixels_max=PLENTY)
    assert sideways.picture.size == (64, 128)
    layer = open_picture((CASES / "mask_alpha_black.png").read_bytes(), pixels_max=PLENTY)
    mask = as_mask(layer.picture)
    assert mask.tobytes() == layer.picture.getchannel("A").tobytes()
    assert not selects_nothing(mask)
