# SPDX-License-Identifier: AGPL-3.0-or-later
"""A folder of files that may all be fetched again: the least recently used make room."""

from contextlib import suppress
from pathlib import Path


def touch(path: Path) -> None:
    """Say that a file was used just now. One that its owner wrote-protected stays as it is."""
    with suppress(OSError):
        path.touch()


def make_disk_room(folder: Path, pattern: str, room_bytes: int, bytes_max: int) -> list[Path]:
    """Delete the least recently used files until `room_bytes` more are within `bytes_max`.

    What lies beside a file under the same name goes with it. Tells what was deleted. Raises
    ValueError when `room_bytes` alone are too many.
    """
    if room_bytes > bytes_max:
        raise ValueError(f"it has {room_bytes} bytes; {bytes_max} may be kept")
    files = sorted(folder.rglob(pattern), key=lambda path: path.stat().st_mtime_ns)
    used = sum(path.stat().st_size for path in files)
    deleted: list[Path] = []
    for path in files:
        if used + room_bytes <= bytes_max:
            break
        used -= path.stat().st_size
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
        deleted.append(path)
    return deleted
