# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many bytes a model takes in memory, as measured when it was last loaded."""

import os
from pathlib import Path

import msgspec

FILE = "sizes.json"


class Sizes:
    """Remembers sizes, in a file if there is a folder for it."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / FILE if folder is not None else None
        self._known = _read(self._path) if self._path is not None else {}

    def get(self, key: str) -> int | None:
        """The measured size in bytes; None when it was never loaded."""
        return self._known.get(key)

    def remember(self, key: str, size_bytes: int) -> None:
        """Keep a measured size."""
        if self._known.get(key) == size_bytes:
            return
        self._known[key] = size_bytes
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(f".{os.getpid()}.part")
        written.write_bytes(msgspec.json.encode(self._known))
        written.replace(self._path)

    def known(self) -> dict[str, int]:
        """All that is known, by key."""
        return dict(self._known)


def _read(path: Path) -> dict[str, int]:
    """A file that is absent or broken is as good as an empty one: all can be measured again."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except (OSError, msgspec.DecodeError):
        return {}


def size_on_disk(path: Path) -> int:
    """Bytes of the weights in a file or folder: a first guess at what they take in memory."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*.safetensors"))
