# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which formats of pictures are taken, and what the others are called."""

from PIL import features

TAKEN = ("PNG", "JPEG", "WEBP", "GIF", "BMP") + (("AVIF",) if features.check("avif") else ())
"""Pillow's names of the formats that are taken."""

_SHOWN = {"WEBP": "WebP"}
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"II+\0", "a TIFF picture"),
    (b"MM\0+", "a TIFF picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"8BPS", "a Photoshop document"),
    (b"gimp xcf", "a GIMP document"),
    (b"\0\0\1\0", "an icon"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
)
_MARKUP = (b"<svg", b"<?xml", b"<!doctype", b"<html", b"<head", b"<body")


def taken_words() -> str:
    """The formats that are taken, as a sentence names them: "PNG, JPEG ... or AVIF"."""
    *names, last = (_SHOWN.get(name, name) for name in TAKEN)
    return f"{', '.join(names)} or {last}"


SIGNATURE_BYTES = 12
"""As much of a file as `begins_a_picture` looks at."""


def begins_a_picture(first: bytes) -> bool:
    """Whether these are the first bytes of a WebP, PNG or JPEG picture, as workers upload them."""
    return (
        (first[:4] == b"RIFF" and first[8:12] == b"WEBP")
        or first.startswith(b"\x89PNG\r\n\x1a\n")
        or first.startswith(b"\xff\xd8\xff")
    )


def named(data: bytes) -> str | None:
    """What a file of a format that is not taken is, told by its beginning; None when nothing is
    known of it, or when it claims to be of a format that is taken."""
    if data[4:8] == b"ftyp":
        if data[8:12] in (b"avif", b"avis"):
            return None if "AVIF" in TAKEN else "an AVIF picture"
        return "a HEIC picture" if data[8:12] in _HEIC else "a video or audio file"
    for magic, name in _OTHERS:
        if data.startswith(magic):
            return name
    start = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in start:
        return "an SVG drawing"
    return "a web page or XML document" if start.startswith(_MARKUP) else None
