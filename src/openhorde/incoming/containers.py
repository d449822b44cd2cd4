# SPDX-License-Identifier: AGPL-3.0-or-later
"""PNG, JPEG, WebP and GIF files taken apart, so that what is not pixels can be bounded or left out.

Each function reads in linear time and returns None for a file it does not understand.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import islice

from PIL import JpegImagePlugin, PngImagePlugin

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_SCANS_MAX = 100
"""A progressive JPEG has about ten; each is a pass over all pixels for a few bytes of file."""

_UNPACKED_BYTES_MAX = PngImagePlugin.MAX_TEXT_CHUNK
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_ANY_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_JUNK_BYTES = 64
_SOS, _EOI, _JFIF, _ADOBE = 0xDA, 0xD9, 0xE0, 0xEE


def pieces_beyond(data: bytes) -> int | None:
    """How many pieces a file of its format may have, if this one has more. For each Pillow takes a
    step of its own, and some of its steps copy all that came before."""
    for magic, pieces, most in _PIECES:
        if data.startswith(magic):
            return None if next(islice(pieces(data), most, None), None) is None else most
    return None


def png_without_large_text(data: bytes) -> bytes:
    """A PNG without what Pillow would refuse it for, or unpack in vain: packed texts and colour
    profiles that are damaged or unpack to more than 1 MiB together, and those behind them. Other
    files come back as they are."""
    if not data.startswith(PNG_MAGIC):
        return data
    dropped, room = False, _UNPACKED_BYTES_MAX
    kept: list[memoryview] = [memoryview(data)[: len(PNG_MAGIC)]]
    end = len(PNG_MAGIC)
    for kind, start, end in _png_chunks(data):
        packed = _packed_part(kind, data[start + 8 : end - 4])
        if packed is not None:
            size = _unpacked_bytes(packed, room)
            room -= min(size, room)
            if not room:
                dropped = True
                continue
        kept.append(memoryview(data)[start:end])
    kept.append(memoryview(data)[end:])
    return b"".join(kept) if dropped else data


def bare_png(data: bytes) -> bytes | None:
    """A PNG with its first picture and nothing else."""
    chunks = [(kind, data[start:end]) for kind, start, end in _png_chunks(data)]
    if not chunks or chunks[-1][0] != b"IEND":
        return None
    return PNG_MAGIC + b"".join(chunk for kind, chunk in chunks if kind in _PNG_PIXELS)


def png_bits(data: bytes) -> int:
    """Bits a channel, as a PNG's header says."""
    return data[24] if len(data) > 24 else 0


def bare_jpeg(data: bytes) -> bytes | None:
    """A JPEG with its first picture and nothing else."""
    kept = [b"\xff\xd8"]
    for marker, start, end in _jpeg_segments(data):
        if marker in (_JFIF, _ADOBE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[start:end])
        if marker == _EOI:
            return b"".join(kept)
    return None


def jpeg_scans(data: bytes) -> int:
    """How many passes over the pixels a JPEG asks for."""
    return sum(marker == _SOS for marker, _, _ in _jpeg_segments(data))


def bare_webp(data: bytes, size: tuple[int, int]) -> bytes | None:
    """A WebP of one frame, of this size, with its pixels and nothing else."""
    chunks = {kind: data[start:end] for kind, start, end in reversed(list(_webp_chunks(data)))}
    if b"VP8L" in chunks:
        body = chunks[b"VP8L"]
    elif b"VP8 " in chunks and b"ALPH" in chunks:
        width, height = size
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        head = b"VP8X" + struct.pack("<II", 10, 0x10) + sides
        body = head + chunks[b"ALPH"] + chunks[b"VP8 "]
    elif b"VP8 " in chunks:
        body = chunks[b"VP8 "]
    else:
        return None
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def is_lossless_webp(data: bytes) -> bool:
    """Whether a WebP's first chunk of pixels is one that loses nothing."""
    return any(kind == b"VP8L" for kind, _, _ in _webp_chunks(data))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The chunks up to the last whole one or IEND: name, where it starts, where it ends."""
    at = len(PNG_MAGIC)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            return
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end


def _packed_part(kind: bytes, body: bytes) -> bytes | None:
    """What is packed of a chunk's content."""
    if kind in (b"zTXt", b"iCCP"):
        return body.partition(b"\0")[2][1:]
    if kind != b"iTXt":
        return None
    rest = body.partition(b"\0")[2]
    if rest[:1] != b"\1":
        return None
    return rest[2:].partition(b"\0")[2].partition(b"\0")[2]


def _unpacked_bytes(packed: bytes, bytes_max: int) -> int:
    """How many bytes it unpacks to, at most `bytes_max`; as many for what is damaged, for nobody
    knows how much of it was unpacked before that showed."""
    if not bytes_max:
        return 0
    try:
        return len(zlib.decompressobj().decompress(packed, bytes_max))
    except zlib.error:
        return bytes_max


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The segments after the first marker: marker, where it starts, where it ends. The segment of a
    scan includes its pixels."""
    at = 2
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _EOI:
            yield marker, at, at + 2
            return
        if at + 4 > len(data):
            return
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if marker == _SOS:
            following = _MARKER.search(data, end)
            end = following.start() if following else len(data)
        if end > len(data):
            return
        yield marker, at, end
        at = end


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if end > len(data) + 1:
            return
        yield kind, at, min(end, len(data))
        at = end


def _jpeg_steps(data: bytes) -> Iterator[object]:
    """The steps that Pillow takes up to the first scan, those over junk by the dozen."""
    at = 2
    while at < len(data):
        if data[at] != 0xFF or data[at + 1 : at + 2] in (b"\0", b"\xff"):
            following = _ANY_MARKER.search(data, at)
            start = following.start() if following else len(data)
            yield from range(at, start, _JUNK_BYTES)
            at = start
            continue
        yield at
        marker = int.from_bytes(data[at : at + 2], "big")
        _, _, handler = JpegImagePlugin.MARKER.get(marker, ("", "", None))
        if marker == 0xFF00 | _SOS:
            return
        at += 2
        if handler is not None:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))


def _gif_blocks(data: bytes) -> Iterator[object]:
    """What stands before the first picture: each block of each extension, and each stray byte."""
    at = 13
    if data[10:11] and data[10] & 0x80:
        at += 3 * (2 << (data[10] & 7))
    while at < len(data) and data[at] not in b",;":
        yield at
        if data[at] != 0x21:
            at += 1
            continue
        at += 2
        while data[at : at + 1] not in (b"", b"\0"):
            yield at
            at += 1 + data[at]
        at += 1


_PIECES: tuple[tuple[bytes, Callable[[bytes], Iterator[object]], int], ...] = (
    (PNG_MAGIC, _png_chunks, 20_000),
    (b"RIFF", _webp_chunks, 20_000),
    (b"GIF8", _gif_blocks, 4_000),
    (b"\xff\xd8", _jpeg_steps, 1_000),
)
