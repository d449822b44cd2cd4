# SPDX-License-Identifier: AGPL-3.0-or-later
"""The hash chain over the ledger: what is hashed, byte by byte.

Each fold seals what it has folded into a block. A block's hash is SHA-256 over

    32 bytes  the hash of the block before, or `FIRST` for block 1
     8 bytes  the block's number
     8 bytes  when it was sealed
    then each transfer of the block, in the block's order:
    16 bytes  source_id
    text      purpose
    text      phase
     8 bytes  debit
     8 bytes  credit
     8 bytes  amount_milli
     8 bytes  when it was recorded
    text      hold (the 16 bytes of the id), then debit_bucket, then credit_bucket

Numbers are signed and big-endian, moments are microseconds since 1970 in UTC. A text is one byte
with its length and then its UTF-8 (at most 254 bytes); the length 255 stands for null. So no two
different blocks give the same bytes, and whoever holds a block's hash holds all that came before.
"""

import hashlib
import struct
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from msgspec import Struct

from openhorde.server.domain.ledger import Transfer

FIRST: Final = hashlib.sha256(b"openhorde ledger, version 1").digest()
"""What block 1 has in the place of the hash before."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_HEADER: Final = struct.Struct(">32sqq")
_NUMBERS: Final = struct.Struct(">qqqq")
_NULL: Final = b"\xff"
_TEXT_BYTES_MAX: Final = 254


class Entry(Struct, frozen=True):
    """A transfer as it is sealed: with the moment at which it was recorded."""

    transfer: Transfer
    recorded_at: datetime


class Head(Struct, frozen=True):
    """The last block of a chain."""

    number: int
    hash: bytes


EMPTY: Final = Head(0, FIRST)
"""The head of a chain without blocks."""


class Seal:
    """Hashes one block, transfer by transfer."""

    def __init__(self, previous: bytes, number: int, sealed_at: datetime) -> None:
        header = _HEADER.pack(previous, number, _micros(sealed_at))
        self._hash = hashlib.sha256(header)

    def add(self, entry: Entry) -> None:
        """Take the next transfer."""
        self._hash.update(entry_bytes(entry))

    def digest(self) -> bytes:
        """The block's hash so far."""
        return self._hash.digest()


def seal(previous: Head, sealed_at: datetime, entries: Iterable[Entry]) -> Head:
    """The head of the chain after one more block with these transfers."""
    block = Seal(previous.hash, previous.number + 1, sealed_at)
    for entry in entries:
        block.add(entry)
    return Head(previous.number + 1, block.digest())


def entry_bytes(entry: Entry) -> bytes:
    """The canonical bytes of a transfer, as described above."""
    transfer = entry.transfer
    numbers = _NUMBERS.pack(
        transfer.debit, transfer.credit, transfer.amount_milli, _micros(entry.recorded_at)
    )
    return b"".join(
        (
            transfer.source_id.bytes,
            _text(transfer.purpose.encode()),
            _text(transfer.phase.encode()),
            numbers,
            _text(None if transfer.hold is None else transfer.hold.bytes),
            _text(transfer.debit_bucket and transfer.debit_bucket.encode()),
            _text(transfer.credit_bucket and transfer.credit_bucket.encode()),
        )
    )


def root_message(day: date, head: Head) -> bytes:
    """What is signed once a day: three lines of text behind a title."""
    lines = ("openhorde ledger root", day.isoformat(), str(head.number), head.hash.hex(), "")
    return "\n".join(lines).encode()


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _text(content: bytes | None) -> bytes:
    if content is None:
        return _NULL
    if len(content) > _TEXT_BYTES_MAX:
        raise ValueError(f"a text of the ledger has at most {_TEXT_BYTES_MAX} bytes")
    return bytes((len(content),)) + content
