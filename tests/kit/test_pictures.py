# SPDX-License-Identifier: AGPL-3.0-or-later
import base64
import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image, features

from openhorde.server.kit.pictures import (
    PictureRefused,
    check_whole,
    decode_base64,
    inspect,
    to_jpeg_or_png,
    to_webp,
)

FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP"] + (["AVIF"] if features.check("avif") else [])
PLENTY = 1_000_000


def encoded(
    kind: str, size: tuple[int, int] = (20, 10), mode: str = "RGB", **options: object
) -> bytes:
    stream = BytesIO()
    Image.new(mode, size, (200, 30, 40, 90)[: len(mode)]).save(stream, kind, **options)
    return stream.getvalue()


def decoded(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes, size: tuple[int, int] = (8, 8)) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(8 * (1 + 3 * 8))))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def reason_of(data: bytes, *, bytes_max: int = PLENTY, pixels_max: int = PLENTY) -> str:
    with pytest.raises(PictureRefused) as refused:
        inspect(data, bytes_max=bytes_max, pixels_max=pixels_max)
    return refused.value.reason


@pytest.mark.parametrize("kind", FORMATS)
def test_reads_and_converts(kind: str) -> None:
    data = encoded(kind)
    facts = inspect(data, bytes_max=PLENTY, pixels_max=200)
    assert facts == (20, 10, kind, 3)
    picture = decoded(to_webp(data, quality=95, pixels_max=200))
    assert (picture.format, picture.size, picture.mode) == ("WEBP", (20, 10), "RGB")
    colour = picture.getpixel((10, 5))
    assert isinstance(colour, tuple)
    assert all(abs(is_ - was) < 12 for is_, was in zip(colour, (200, 30, 40), strict=True))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_is_a_fourth_band_and_stays(kind: str) -> None:
    data = encoded(kind, mode="RGBA")
    assert inspect(data, bytes_max=PLENTY, pixels_max=PLENTY).bands == 4
    assert decoded(to_webp(data, quality=50, pixels_max=PLENTY)).mode == "RGBA"


def test_transparency_of_a_palette_counts() -> None:
    stream = BytesIO()
    Image.new("P", (4, 4)).save(stream, "PNG", transparency=0)
    assert inspect(stream.getvalue(), bytes_max=PLENTY, pixels_max=PLENTY).bands == 4
    picture = decoded(to_webp(stream.getvalue(), quality=50, pixels_max=PLENTY))
    assert picture.getpixel((0, 0))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16"])
def test_all_modes_convert(mode: str) -> None:
    stream = BytesIO()
    Image.new(mode, (4, 4)).save(stream, "PNG")
    assert decoded(to_webp(stream.getvalue(), quality=50, pixels_max=PLENTY)).size == (4, 4)


def test_16_bit_grey_is_scaled() -> None:
    stream = BytesIO()
    Image.new("I;16", (4, 4), 0x8000).save(stream, "PNG")
    picture = decoded(to_webp(stream.getvalue(), quality=100, pixels_max=PLENTY))
    assert picture.convert("L").getpixel((0, 0)) in range(126, 131)


def test_of_several_frames_the_first_is_taken() -> None:
    stream = BytesIO()
    Image.new("RGB", (4, 4), "red").save(
        stream, "GIF", save_all=True, append_images=[Image.new("RGB", (4, 4), "blue")]
    )
    assert inspect(stream.getvalue(), bytes_max=PLENTY, pixels_max=PLENTY).format == "GIF"
    picture = decoded(to_webp(stream.getvalue(), quality=100, pixels_max=PLENTY))
    assert getattr(picture, "n_frames", 1) == 1
    assert picture.getpixel((0, 0))[0] > 200  # type: ignore[index]


def test_is_turned_upright_and_loses_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "at home"
    data = encoded("JPEG", exif=exif, comment=b"secret")
    turned = to_webp(data, quality=50, pixels_max=PLENTY)
    assert decoded(turned).size == (10, 20)
    assert not decoded(turned).getexif()
    assert b"home" not in turned
    assert b"secret" not in turned


# Here pytest's filter, "error", stands before ours.
@pytest.mark.filterwarnings(r"ignore:::PIL\.")
def test_broken_metadata_do_not_matter() -> None:
    data = encoded("JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff")
    assert decoded(to_webp(data, quality=50, pixels_max=PLENTY)).size == (20, 10)


def test_bounds() -> None:
    data = encoded("PNG")
    assert reason_of(data, pixels_max=199) == "too_many_pixels"
    assert reason_of(data, bytes_max=len(data) - 1) == "too_many_bytes"
    with pytest.raises(PictureRefused, match="too_many_pixels"):
        to_webp(data, quality=50, pixels_max=199)


def test_what_webp_cannot_hold_is_refused_by_the_header() -> None:
    assert reason_of(encoded("PNG", (16384, 1))) == "too_many_pixels"
    assert inspect(encoded("PNG", (16383, 1)), bytes_max=PLENTY, pixels_max=PLENTY).width == 16383


@pytest.mark.parametrize("size", [(50_000, 50_000), (2**31 - 1, 2**31 - 1), (10_000, 10_000)])
def test_a_huge_png_is_refused_by_its_header(size: tuple[int, int]) -> None:
    assert reason_of(png(size=size)) == "too_many_pixels"


def test_a_huge_webp_is_refused_by_its_header() -> None:
    data = bytearray(encoded("WEBP", mode="RGBA", exif=b"Exif\x00\x00"))
    assert data[12:16] == b"VP8X"
    data[24:30] = (16382).to_bytes(3, "little") * 2
    assert reason_of(bytes(data)) in ("too_many_pixels", "unreadable")


def test_a_huge_gif_is_refused_by_its_header() -> None:
    data = bytearray(encoded("GIF"))
    data[6:10] = struct.pack("<HH", 65535, 65535)
    assert reason_of(bytes(data)) == "too_many_pixels"


def test_packed_text_is_not_unpacked_without_bound() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    for kind, body in ((b"zTXt", b"k\0\0" + bomb), (b"iTXt", b"k\0\1\0\0\0" + bomb)):
        assert reason_of(png(chunk(kind, body))) == "unreadable"


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_pictures_are_refused_and_nothing_else_leaks(kind: str) -> None:
    data = encoded(kind)
    for end in range(0, len(data) - 1, max(1, len(data) // 60)):
        for broken in (data[:end], data[:end] + b"\xff" + data[end + 1 :]):
            try:
                to_webp(broken, quality=1, pixels_max=PLENTY)
            except PictureRefused:
                continue
    for end in (0, 5, len(data) // 2):
        with pytest.raises(PictureRefused):
            to_webp(data[:end], quality=1, pixels_max=PLENTY)


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "PDF", "JPEG2000", "TGA"])
def test_other_formats_are_refused(kind: str) -> None:
    assert reason_of(encoded(kind)) == "unreadable"


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_other_things_are_refused(data: bytes) -> None:
    assert reason_of(data) == "unreadable"


BYTES = bytes(range(250)) + b"\xfb\xff"


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(BYTES).decode(),
        base64.b64encode(BYTES).decode().rstrip("="),
        base64.urlsafe_b64encode(BYTES).decode(),
        base64.encodebytes(BYTES).decode(),
        " \r\n" + base64.b64encode(BYTES).decode() + "\n",
        "data:image/png;base64," + base64.b64encode(BYTES).decode(),
        "DATA:image/png;charset=x;BASE64,\n" + base64.b64encode(BYTES).decode(),
        "data:;base64," + base64.b64encode(BYTES).decode(),
    ],
)
def test_base64_in_all_its_dresses(text: str) -> None:
    assert decode_base64(text, len(BYTES)) == BYTES


@pytest.mark.parametrize(
    "text",
    [
        *("", "   ", "=", "====", "data:image/png,abc", "data:image/png;base64,", "A", "AAAAA"),
        *("QUJD!", "QU=JD", "é" * 8, "http://example.org/a.png", "QUJD\0", "data:", "<QUJD>"),
    ],
)
def test_junk_is_no_base64(text: str) -> None:
    with pytest.raises(PictureRefused, match="unreadable"):
        decode_base64(text, PLENTY)


def test_base64_is_bound() -> None:
    with pytest.raises(PictureRefused, match="too_many_bytes"):
        decode_base64(base64.b64encode(BYTES).decode(), len(BYTES) - 1)


@pytest.mark.parametrize(("mode", "ending"), [("RGB", "jpg"), ("RGBA", "png")])
def test_pictures_of_any_size_are_kept_as_jpeg_or_with_transparency_as_png(
    mode: str, ending: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded("PNG", mode=mode, exif=exif)
    kept, is_ = to_jpeg_or_png(data, quality=90, pixels_max=PLENTY)
    assert is_ == ending
    picture = decoded(kept)
    assert (picture.size, picture.mode, dict(picture.getexif())) == ((10, 20), mode, {})


def test_who_only_looks_sees_damage_and_bounds_too() -> None:
    whole = encoded("PNG")
    check_whole(whole, pixels_max=200)
    for data, pixels_max in ((whole[:-30], 200), (whole, 199), (b"text", 200)):
        with pytest.raises(PictureRefused):
            check_whole(data, pixels_max=pixels_max)
        with pytest.raises(PictureRefused):
            to_jpeg_or_png(data, quality=90, pixels_max=pixels_max)


def test_what_the_encoder_of_webp_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of tens of millions of pixels some are too many for it; that takes half a minute to see.
    def save(*_: object, **__: object) -> None:
        raise ValueError("encoding error 6")

    data = encoded("PNG")
    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(PictureRefused) as refused:
        to_webp(data, quality=90, pixels_max=PLENTY)
    assert refused.value.reason == "too_many_pixels"
