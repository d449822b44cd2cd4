# SPDX-License-Identifier: AGPL-3.0-or-later
"""A full disk is known by what fails and by looking."""

import errno
from pathlib import Path

import asyncpg
import pytest
from obstore.exceptions import GenericError

from openhorde.server.kit import disk
from openhorde.server.kit.disk import FULL_SECONDS, Disk, is_disk_full


def because(error: Exception) -> Exception:
    """A failure with another one as its cause."""
    outer = RuntimeError("outer")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (asyncpg.DiskFullError("could not extend file"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (GenericError("Unable to copy data to file: No space left (os error 28)"), True),
        (GenericError("Unable to create file: Disk quota exceeded (os error 122)"), True),
        (because(OSError(errno.ENOSPC, "No space left on device")), True),
        (because(because(asyncpg.DiskFullError("x"))), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (GenericError("Unable to create file: Permission denied (os error 13)"), False),
        (GenericError("Unable to create file: (os error 281)"), False),
        (ValueError("No space left on device (os error 28)"), False),
        (asyncpg.DataError("x"), False),
    ],
)
def test_what_failed_for_want_of_room(error: Exception, full: bool) -> None:
    assert is_disk_full(error) is full


def test_a_failure_is_remembered_for_a_while() -> None:
    moment = 1000.0
    seen = Disk(None, lambda: moment)
    assert not seen.is_full()
    seen.note_full()
    moment += FULL_SECONDS - 0.1
    assert seen.is_full()
    moment += 0.2
    assert not seen.is_full()


def test_a_folder_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Disk(tmp_path).is_full()
    assert not Disk(tmp_path / "not there").is_full()
    monkeypatch.setattr(disk, "FREE_BYTES_MIN", 1 << 62)
    assert Disk(tmp_path).is_full()
