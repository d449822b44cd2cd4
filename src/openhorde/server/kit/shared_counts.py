# SPDX-License-Identifier: AGPL-3.0-or-later
"""Counts in fixed windows of time, kept in memory that the processes of one machine share.

The memory is a table of buckets; a key's bucket and its number are a keyed hash of it, so nobody
outside can aim at a bucket. What follows from a table of fixed size:

- A bucket holds eight windows. Who needs a ninth drives out the one that ends soonest, mostly one
  that has ended; otherwise its count begins again at nothing. With 2^18 places that takes some
  hundred thousand open windows at once.
- Two keys with the same number of 64 bits share a count: one chance in millions with a full table.

A bucket is changed under a lock of the kernel on its bytes. A process that is killed holds no lock
any more; at worst it leaves one window half written. The locks are between processes, not between
threads: only one thread of a process may count.
"""

import fcntl
import os
import secrets
import struct
import sys
import tempfile
import weakref
from collections.abc import Callable
from hashlib import blake2b
from mmap import mmap

WAYS = 8
BUCKETS = 1 << 15

_SECRET_BYTES = 32
_HEAD_BYTES = 4096
_WINDOW = struct.Struct("<QdQ")
"""The key's number, when the window ends (seconds since 1970), the count."""
_BUCKET = struct.Struct("<" + "QdQ" * WAYS)
_HASH = struct.Struct("<QQ")


class SharedCounts:
    """Counts that every process sees which has this memory; some microseconds a count."""

    def __init__(self, descriptor: int, now: Callable[[], float]) -> None:
        """Use the memory that `share_memory` made. The file descriptor is closed with this."""
        self.descriptor = descriptor
        self._now = now
        self._memory = mmap(descriptor, _HEAD_BYTES + BUCKETS * _BUCKET.size)
        self._secret = self._memory[:_SECRET_BYTES]
        weakref.finalize(self, os.close, descriptor)

    def add(self, key: str, seconds: int) -> tuple[int, float]:
        """Count once more, in a new window of so many seconds if none is open; the count with
        this one, and when the window ends."""
        place, number = self._place(key)
        now = self._now()
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX, 1, place)
        try:
            fields = _BUCKET.unpack_from(self._memory, place)
            count, ends_at = 0, now + seconds
            if number in fields[::3]:
                way = fields[::3].index(number)
                # One that ends later than it may was opened before the clock was set back.
                if now < fields[3 * way + 1] <= ends_at:
                    ends_at, count = fields[3 * way + 1 : 3 * way + 3]
            else:
                way = fields[1::3].index(min(fields[1::3]))
            _WINDOW.pack_into(self._memory, place + way * _WINDOW.size, number, ends_at, count + 1)
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, place)
        return count + 1, ends_at

    def count(self, key: str) -> int:
        """The count of the open window; 0 if none is."""
        place, number = self._place(key)
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX, 1, place)
        try:
            fields = _BUCKET.unpack_from(self._memory, place)
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, place)
        if number not in fields[::3]:
            return 0
        way = fields[::3].index(number)
        return int(fields[3 * way + 2]) if fields[3 * way + 1] > self._now() else 0

    def _place(self, key: str) -> tuple[int, int]:
        hashed = blake2b(key.encode("utf-8", "replace"), digest_size=16, key=self._secret).digest()
        bucket, number = _HASH.unpack(hashed)
        # 0 marks a place that was never used.
        return _HEAD_BYTES + bucket % BUCKETS * _BUCKET.size, number or 1


def share_memory() -> int:
    """New memory for counts: a file descriptor that other processes may inherit. It takes some
    megabytes, as they are used."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("openhorde-counts")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _HEAD_BYTES + BUCKETS * _BUCKET.size)
    os.pwrite(descriptor, secrets.token_bytes(_SECRET_BYTES), 0)
    return descriptor
