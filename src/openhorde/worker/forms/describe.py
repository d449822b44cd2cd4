# SPDX-License-Identifier: AGPL-3.0-or-later
"""Describe: plain facts about a picture, with a blurred stand-in to show while it loads."""

from importlib.util import find_spec
from typing import Any

from PIL import Image, ImageStat

from openhorde.worker.forms.base import on_white
from openhorde.worker.settings import WorkerSettings

_BLURHASH_SIDE_PIXELS = 32


class Describe:
    """Needs no model."""

    def __init__(self, settings: WorkerSettings) -> None:
        pass

    @staticmethod
    def obstacle(settings: WorkerSettings) -> str | None:
        """See Form.obstacle."""
        return None if find_spec("blurhash") else "the package blurhash is not installed"

    def open(self) -> None:
        """See Form.open."""

    def run(self, picture: Image.Image, payload: dict[str, Any]) -> dict[str, Any]:
        """See Form.run. Sizes in pixels, brightness and contrast 0 to 1."""
        import blurhash

        plain = on_white(picture)
        average = ImageStat.Stat(plain).mean
        grey = ImageStat.Stat(plain.convert("L"))
        small = plain.resize((_BLURHASH_SIDE_PIXELS, _BLURHASH_SIDE_PIXELS), Image.Resampling.BOX)
        rows = [[small.getpixel((x, y)) for x in range(small.width)] for y in range(small.height)]
        return {
            "width": picture.width,
            "height": picture.height,
            "transparent": picture.has_transparency_data,
            "average_colour": "#{:02x}{:02x}{:02x}".format(*(round(part) for part in average)),
            "brightness": round(grey.mean[0] / 255, 4),
            "contrast": round(grey.stddev[0] / 127.5, 4),
            "blurhash": blurhash.encode(rows, components_x=4, components_y=4),
        }
