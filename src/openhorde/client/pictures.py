# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finished pictures, and how they become files that still know how they were made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openhorde import __version__
from openhorde.client.errors import HordeError
from openhorde.client.metadata import with_facts
from openhorde.client.notes import words_of
from openhorde.incoming.pictures import PictureRefused
from openhorde.wire.requests import Note, Warning


@dataclass(frozen=True, kw_only=True)
class QueuedImage:
    """An accepted request. `kudos` is the base price of one picture; `body` is what was sent."""

    id: str
    kudos: float
    message: str | None
    warnings: list[Warning]
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture as the worker made it. `kudos` is this picture's share of what was charged.

    `censored` pictures are kept in place: `gen_metadata` says what befell them.
    """

    content: bytes = field(repr=False)
    id: str
    request_id: str
    seed: str
    model: str
    worker_id: str
    worker_name: str
    gen_metadata: list[Note]
    kudos: float
    censored: bool
    asked: dict[str, Any] = field(repr=False)

    @property
    def said(self) -> list[str]:
        """What the worker says of how it was made, in words."""
        return words_of(self.gen_metadata)

    def __bytes__(self) -> bytes:
        return self.content

    def facts(self) -> dict[str, Any]:
        """What goes into the file beside the pixels."""
        return {
            **self.asked,
            "seed": self.seed,
            "model": self.model,
            "worker": self.worker_name,
            "request_id": self.request_id,
            "picture_id": self.id,
            "software": f"openhorde {__version__}",
        }

    def encoded(self, suffix: str) -> bytes:
        """The picture in the format of a file suffix (.webp, .png, .jpg), its facts inside.

        Raises HordeError when what came is no picture.
        """
        try:
            return with_facts(self.content, suffix, self.facts())
        except PictureRefused as refused:
            raise HordeError(
                0, None, f"What came as picture {self.id} cannot be read: {refused.detail}."
            ) from refused

    def save(self, path: str | Path) -> Path:
        """Write the picture in the format of the path's suffix."""
        path = Path(path)
        path.write_bytes(self.encoded(path.suffix))
        return path
