# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures that nobody should open."""

import struct
import zlib
from io import BytesIO

from PIL import Image


def png(side: int = 64, color: str = "red") -> bytes:
    """A sound one."""
    file = BytesIO()
    Image.new("RGB", (side, side), color).save(file, "PNG")
    return file.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png_of_zeros(side: int) -> bytes:
    """A valid black PNG: a few kilobytes that become side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    line = b"\0" * (1 + (side + 7) // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(line) for _ in range(side)) + packer.flush()
    start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
    return start + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def png_with_packed_text(size: int) -> bytes:
    """A sound picture with a text chunk that unpacks to so many bytes."""
    sound = png(color="white")
    text = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * size, 9))
    profile = _chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"\0" * size, 9))
    after_header = 8 + 25
    return sound[:after_header] + profile + text + sound[after_header:]


def webp_that_claims(width: int, height: int) -> bytes:
    """The head of a lossless WebP of up to 16384 x 16384 pixels, and nothing behind it."""
    bits = (width - 1) | (height - 1) << 14
    data = b"\x2f" + struct.pack("<I", bits) + b"\0" * 10
    data += b"\0" * (len(data) % 2)
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def bmp_that_claims(width: int, height: int) -> bytes:
    """The head of a BMP, and nothing behind it."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 14 + len(head), 0, 0, 14 + len(head)) + head


BROKEN = {
    "nothing": b"",
    "text": b"this is no picture",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "html": b"<!doctype html><script>alert(1)</script>",
    "pdf": b"%PDF-1.7\n%%EOF",
    "tiff": b"II*\0\x08\0\0\0\0\0",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "cut in the head": png()[:20],
    "cut in the data": png(256)[:-40],
    "a flipped bit": png()[:45] + b"\xff" + png()[46:],
    "no pixels": bmp_that_claims(0, 0),
    "negative pixels": bmp_that_claims(-5, -5),
    "a huge bmp": bmp_that_claims(2**31 - 1, 2**31 - 1),
    "a huge webp": webp_that_claims(16384, 16384),
    "a bomb": png_of_zeros(30_000),
    "packed text": png_with_packed_text(80_000_000),
}
