# SPDX-License-Identifier: AGPL-3.0-or-later
"""Palette: the main colours of a picture and how much of it each covers."""

from typing import Annotated, Any

from msgspec import Meta, Struct
from PIL import Image

from openhorde.worker.forms.base import on_white, read_payload
from openhorde.worker.settings import WorkerSettings

_SIDE_PIXELS = 256


class Wishes(Struct, kw_only=True):
    """What the asker may say."""

    count: Annotated[int, Meta(ge=1, le=64)] = 8


class Palette:
    """Needs no model: Pillow sorts the pixels into as many colours as are asked for."""

    def __init__(self, settings: WorkerSettings) -> None:
        pass

    @staticmethod
    def obstacle(settings: WorkerSettings) -> str | None:
        """See Form.obstacle."""
        return None

    def open(self) -> None:
        """See Form.open."""

    def run(self, picture: Image.Image, payload: dict[str, Any]) -> list[dict[str, str | float]]:
        """See Form.run. Colours as `#rrggbb` with their share, 0 to 1, the largest first."""
        wishes = read_payload("palette", payload, Wishes)
        small = on_white(picture)
        small.thumbnail((_SIDE_PIXELS, _SIDE_PIXELS), Image.Resampling.BOX)
        sorted_out = small.quantize(wishes.count, method=Image.Quantize.MEDIANCUT)
        # Typed as Any because a colour may be a number in other modes.
        counted: Any = sorted_out.convert("RGB").getcolors(maxcolors=256) or []
        total = small.width * small.height
        return [
            {"colour": "#{:02x}{:02x}{:02x}".format(*colour), "share": round(count / total, 4)}
            for count, colour in sorted(counted, reverse=True)
        ]
