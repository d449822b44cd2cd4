# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether there is room on the disk: seen by what fails, and by looking."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

import asyncpg
from obstore.exceptions import BaseError

FREE_BYTES_MIN: Final = 16 << 20
"""Less than this counts as full: it is what PostgreSQL wants for the next piece of its log."""

FULL_SECONDS: Final = 10.0
"""So long a disk counts as full after something failed for want of room."""

_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT})
# The storage tells the number of a failure only in words.
_IN_WORDS = re.compile(rf"\(os error ({'|'.join(str(number) for number in sorted(_NUMBERS))})\)")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether something failed for want of room: here, in the database or in the storage."""
    while error is not None:
        if isinstance(error, asyncpg.DiskFullError):
            return True
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return True
        if isinstance(error, BaseError) and _IN_WORDS.search(str(error)):
            return True
        error = error.__cause__
    return False


class Disk:
    """The disk that data are written to. `folder` is looked at, if data are in one here."""

    def __init__(self, folder: Path | None, now: Callable[[], float] = monotonic) -> None:
        self._folder = folder
        self._now = now
        self._failed_at: float | None = None

    def note_full(self) -> None:
        """Something has just failed for want of room."""
        self._failed_at = self._now()

    def is_full(self) -> bool:
        """Whether there is no room, or was none a moment ago."""
        if self._failed_at is not None and self._now() - self._failed_at < FULL_SECONDS:
            return True
        if self._folder is None:
            return False
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return False
        return found.f_bavail * found.f_frsize < FREE_BYTES_MIN
