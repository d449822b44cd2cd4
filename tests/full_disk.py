# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small disk of its own for a test, where this machine lets us have one."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHUNK = bytes(1 << 20)


def _run(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A folder on a disk of that size. OSError where nothing may be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="openhorde-disk-"))
    try:
        options = f"size={megabytes}m,mode=755"
        if not _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)):
            raise OSError(f"cannot mount a disk at {folder}")
        try:
            yield folder
        finally:
            _run("umount", "--lazy", str(folder))
    finally:
        folder.rmdir()


def fill(folder: Path) -> Path:
    """Leave no room on the disk of a folder; the file that takes it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(CHUNK) == len(CHUNK):
            pass
    return filler


def may_mount() -> bool:
    """Whether this machine lets us have a disk."""
    try:
        with small_disk(1):
            return True
    except OSError:
        return False
