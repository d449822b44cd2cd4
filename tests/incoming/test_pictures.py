# SPDX-License-Identifier: AGPL-3.0-or-later
import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image, ImageCms, features

from openhorde.incoming import containers
from openhorde.incoming.pictures import (
    Opened,
    PictureRefused,
    inspect,
    open_picture,
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


def opened(data: bytes) -> Opened:
    return open_picture(data, pixels_max=PLENTY)


def shown(data: bytes) -> Image.Image:
    return opened(data).picture


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes, size: tuple[int, int] = (8, 8)) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(8 * (1 + 3 * 8))))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def reason_of(data: bytes, *, bytes_max: int = PLENTY, pixels_max: int = PLENTY) -> str:
    with pytest.raises(PictureRefused) as refused:
        inspect(data, bytes_max=bytes_max, pixels_max=pixels_max)
    reason: str = refused.value.reason
    return reason


@pytest.mark.parametrize("kind", FORMATS)
def test_reads_and_opens(kind: str) -> None:
    data = encoded(kind)
    facts = inspect(data, bytes_max=PLENTY, pixels_max=200)
    assert facts == (20, 10, kind, 3)
    picture = open_picture(data, pixels_max=200).picture
    assert (picture.size, picture.mode) == ((20, 10), "RGB")
    colour = picture.getpixel((10, 5))
    assert isinstance(colour, tuple)
    assert all(abs(is_ - was) < 12 for is_, was in zip(colour, (200, 30, 40), strict=True))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_is_a_fourth_band_and_stays(kind: str) -> None:
    data = encoded(kind, mode="RGBA")
    assert inspect(data, bytes_max=PLENTY, pixels_max=PLENTY).bands == 4
    assert shown(data).mode == "RGBA"


def test_transparency_of_a_palette_counts() -> None:
    stream = BytesIO()
    Image.new("P", (4, 4)).save(stream, "PNG", transparency=0)
    assert inspect(stream.getvalue(), bytes_max=PLENTY, pixels_max=PLENTY).bands == 4
    assert shown(stream.getvalue()).getpixel((0, 0))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16"])
def test_all_modes_open(mode: str) -> None:
    stream = BytesIO()
    Image.new(mode, (4, 4)).save(stream, "PNG")
    assert shown(stream.getvalue()).mode == ("RGBA" if mode == "LA" else "RGB")


def test_16_bit_grey_is_scaled_and_its_transparent_value_counts() -> None:
    wide = Image.new("I;16", (2, 1), 0x8000)
    wide.putpixel((1, 0), 0x8001)
    stream = BytesIO()
    wide.save(stream, "PNG", transparency=0x8001)
    picture = shown(stream.getvalue())
    assert [picture.getpixel((x, 0)) for x in (0, 1)] == [(128,) * 3 + (255,), (128,) * 3 + (0,)]


def test_of_several_frames_the_first_is_taken() -> None:
    stream = BytesIO()
    Image.new("RGB", (4, 4), "red").save(
        stream, "GIF", save_all=True, append_images=[Image.new("RGB", (4, 4), "blue")]
    )
    assert inspect(stream.getvalue(), bytes_max=PLENTY, pixels_max=PLENTY).format == "GIF"
    assert shown(stream.getvalue()).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_is_turned_upright_and_loses_metadata(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "at home"
    turned = opened(encoded(kind, exif=exif))
    assert turned.picture.size == (10, 20)
    assert not turned.picture.info
    assert turned.bare is None


# Here pytest's filter, "error", stands before ours.
@pytest.mark.filterwarnings(r"ignore:::PIL\.")
def test_broken_metadata_do_not_matter() -> None:
    data = encoded("JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff")
    assert shown(data).size == (20, 10)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK"])
def test_a_profile_that_does_not_suit_the_picture_is_ignored(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ" if mode == "L" else "LAB"))
    unsuitable = encoded(kind, mode=mode, icc_profile=profile.tobytes())
    assert shown(unsuitable).tobytes() == shown(encoded(kind, mode=mode)).tobytes()
    own = encoded(kind, mode=mode, icc_profile=b"no profile")
    assert shown(own).tobytes() == shown(encoded(kind, mode=mode)).tobytes()


def test_colours_of_another_profile_are_mapped_and_those_of_srgb_left() -> None:
    plain = shown(encoded("PNG"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert shown(encoded("PNG", icc_profile=srgb)).tobytes() == plain.tobytes()
    # Red and blue change places.
    other = srgb.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    other = other.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    for mode in ("RGB", "RGBA"):
        mapped = opened(encoded("PNG", mode=mode, icc_profile=other))
        assert mapped.picture.getpixel((0, 0)) == (40, 30, 200, 90)[: len(mode)]
        assert mapped.bare is None


def test_bounds() -> None:
    data = encoded("PNG")
    assert reason_of(data, pixels_max=199) == "too_many_pixels"
    assert reason_of(data, bytes_max=len(data) - 1) == "too_many_bytes"
    with pytest.raises(PictureRefused, match="too_many_pixels"):
        open_picture(data, pixels_max=199)


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


@pytest.mark.parametrize("count", [1, 3000])
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_packed_text_is_left_out_and_never_unpacked_without_bound(
    kind: bytes, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = 0
    unpack = containers._unpacked_bytes

    def counting(packed: bytes, bytes_max: int) -> int:
        nonlocal unpacked
        size = unpack(packed, bytes_max)
        unpacked += size
        return size

    monkeypatch.setattr(containers, "_unpacked_bytes", counting)
    bomb = zlib.compress(bytes(50_000_000 // count), 9)
    body = b"k\0\1\0\0\0" + bomb if kind == b"iTXt" else b"k\0\0" + bomb
    picture = opened(png(*[chunk(kind, body)] * count))
    assert picture.picture.size == (8, 8)
    assert unpacked <= containers._UNPACKED_BYTES_MAX


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_damaged_text_is_not_unpacked_again_and_again(
    kind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by Pillow either: each chunk of a kilobyte costs a mebibyte before the damage shows."""
    unpack, tries = zlib.decompressobj, 0

    def counting() -> object:
        nonlocal tries
        tries += 1
        return unpack()

    monkeypatch.setattr(zlib, "decompressobj", counting)
    damaged = zlib.compress(bytes(1_000_000), 9)[:-4] + b"\0\0\0\1"
    body = b"k\0\1\0\0\0" + damaged if kind == b"iTXt" else b"k\0\0" + damaged
    picture = opened(png(*[chunk(kind, body)] * 300))
    assert picture.picture.size == (8, 8)
    assert tries == 1


def test_a_short_packed_text_may_say_which_side_is_up() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lines = (b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")).hex().encode()
    text = b"\nexif\n%8d\n" % (len(lines) // 2) + lines
    note = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    assert opened(png(note)).bare is None


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encoded("JPEG", progressive=True)
    scan = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    end = data.index(b"\xff", scan + 8)
    many = data[:scan] + data[scan:end] * 200 + data[end:]
    assert opened(data).picture.size == (20, 10)
    with pytest.raises(PictureRefused, match="more than 100 scans"):
        opened(many)


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_pictures_are_refused_and_nothing_else_leaks(kind: str) -> None:
    data = encoded(kind)
    for end in range(0, len(data) - 1, max(1, len(data) // 60)):
        for broken in (data[:end], data[:end] + b"\xff" + data[end + 1 :]):
            try:
                opened(broken)
            except PictureRefused:
                continue
    for end in (0, 5, len(data) // 2):
        with pytest.raises(PictureRefused):
            opened(data[:end])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("TIFF", "a TIFF picture"),
        ("ICO", "an icon"),
        ("PDF", "a PDF document"),
        ("JPEG2000", "a JPEG 2000 picture"),
    ],
)
def test_other_formats_are_refused_by_name(kind: str, name: str) -> None:
    with pytest.raises(PictureRefused, match=f"format: it is {name}"):
        opened(encoded(kind))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIC picture"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a video or audio file"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>", "an SVG drawing"),
        (b"<!DOCTYPE html><p>404", "a web page or XML document"),
        (b"PK\x03\x04", "a ZIP archive"),
    ],
)
def test_what_phones_and_the_web_send_is_refused_by_name(data: bytes, name: str) -> None:
    with pytest.raises(PictureRefused, match=f"format: it is {name}"):
        opened(data)


@pytest.mark.parametrize("data", [b"", b"hello", encoded("PPM"), encoded("TGA"), bytes(100)])
def test_other_things_are_refused(data: bytes) -> None:
    assert reason_of(data) == "unreadable"


def test_what_the_encoder_of_webp_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of tens of millions of pixels some are too many for it; that takes half a minute to see.
    def save(*_: object, **__: object) -> None:
        raise ValueError("encoding error 6")

    picture = shown(encoded("PNG"))
    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(PictureRefused) as refused:
        to_webp(picture, 90)
    assert refused.value.reason == "too_many_pixels"


PIECES = {
    "PNG": struct.pack(">I4sI", 0, b"abCd", zlib.crc32(b"abCd")),
    "JPEG": b"\xff\xfe\0\2",
    "JPEG of Exif": b"\xff\xe1\0\x0aExif\0\0xx",
    "JPEG of padding": b"\xff" * 64,
    "JPEG of escapes": b"\xff\0" * 32,
    "JPEG of junk": bytes(64),
    "JPEG of junk behind a marker without length": b"\xff\xf0\xff\xff" + bytes(60),
    "WEBP": b"XXXX\0\0\0\0",
    "GIF": b"!\xfe\1x\0",
    "GIF of one comment": b"\1x",
    "GIF of stray bytes": b"\0",
}


def in_pieces(name: str, count: int) -> bytes:
    """A sound file with so many pieces more than it needs."""
    file_format, _, kind = name.partition(" ")
    written = BytesIO()
    Image.new("RGB", (8, 8), "red").save(written, file_format)
    data, extra = written.getvalue(), PIECES[name] * count
    if file_format == "GIF":
        at = 13 + 3 * (2 << (data[10] & 7))
        if kind == "of one comment":
            extra = b"!\xfe" + extra + b"\0"
    else:
        at = {"PNG": 33, "JPEG": 20, "WEBP": len(data)}[file_format]
    whole = data[:at] + extra + data[at:]
    if file_format == "WEBP":
        return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]
    return whole


@pytest.mark.parametrize("name", PIECES)
def test_a_file_in_very_many_pieces_is_refused_before_it_is_opened(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow takes a step for each, or copies all that came before: minutes for some megabytes."""
    few = in_pieces(name, 200)
    assert inspect(few, bytes_max=1 << 24, pixels_max=1000)[:2] == (8, 8)
    many = in_pieces(name, 20_001)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(PictureRefused, match="pieces") as refused:
        inspect(many, bytes_max=1 << 24, pixels_max=1000)
    assert refused.value.reason == "unreadable"
    with pytest.raises(PictureRefused, match="pieces"):
        open_picture(many, pixels_max=1000)
