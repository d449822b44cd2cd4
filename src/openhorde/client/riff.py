# SPDX-License-Identifier: AGPL-3.0-or-later
"""The WebP container: putting chunks beside pictures without touching the pixels.

Encoding a lossy picture a second time would cost quality only to write a comment. Layout: RIFF
header, then chunks of four letters, a little-endian length and data padded to an even length;
the extended form begins with a VP8X chunk of flags and size, and metadata comes last.
"""

import struct
from collections.abc import Mapping

FLAGS = {b"ICCP": 0x20, b"ALPH": 0x10, b"EXIF": 0x08, b"XMP ": 0x04, b"ANIM": 0x02}
ALPHA = FLAGS[b"ALPH"]


def webp_with_chunks(
    content: bytes, size: tuple[int, int], alpha: bool, added: Mapping[bytes, bytes]
) -> bytes:
    """`content` with the `added` chunks instead of those of the same name."""
    chunks = [(name, data) for name, data in _chunks(content) if name not in added]
    flags = ALPHA if alpha else 0
    if chunks[0][0] == b"VP8X":
        flags |= chunks.pop(0)[1][0]
    chunks += added.items()
    for name, _ in chunks:
        flags |= FLAGS.get(name, 0)
    width, height = size
    extended = struct.pack("<I", flags) + (width - 1).to_bytes(3, "little")
    extended += (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"".join(_chunk(name, data) for name, data in [(b"VP8X", extended), *chunks])
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    at = 12
    while at + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, at)
        found.append((name, content[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return found


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
