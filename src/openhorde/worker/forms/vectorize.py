# SPDX-License-Identifier: AGPL-3.0-or-later
"""Vectorize: the picture redrawn as areas of colour, in SVG, by vtracer."""

from importlib.util import find_spec
from io import BytesIO
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from PIL import Image

from openhorde.worker.forms.base import FormFault, read_payload
from openhorde.worker.settings import WorkerSettings

SIDE_PIXELS_MAX = 1024
SVG_BYTES_MAX = 4_000_000


class Wishes(Struct, kw_only=True):
    """What the asker may say. `filter_speckle` drops areas of fewer pixels across than this."""

    colormode: Literal["color", "binary"] = "color"
    filter_speckle: Annotated[int, Meta(ge=0, le=64)] = 4
    color_precision: Annotated[int, Meta(ge=1, le=8)] = 6


class Vectorize:
    """Needs no model."""

    def __init__(self, settings: WorkerSettings) -> None:
        pass

    @staticmethod
    def obstacle(settings: WorkerSettings) -> str | None:
        """See Form.obstacle."""
        return None if find_spec("vtracer") else "the package vtracer is not installed"

    def open(self) -> None:
        """See Form.open."""

    def run(self, picture: Image.Image, payload: dict[str, Any]) -> str:
        """See Form.run. The SVG document; a larger picture is made smaller first."""
        import vtracer

        wishes = read_payload("vectorize", payload, Wishes)
        small = picture.convert("RGBA")
        small.thumbnail((SIDE_PIXELS_MAX, SIDE_PIXELS_MAX))
        kept = BytesIO()
        small.save(kept, "PNG")
        drawn: str = vtracer.convert_raw_image_to_svg(
            kept.getvalue(),
            img_format="png",
            colormode=wishes.colormode,
            filter_speckle=wishes.filter_speckle,
            color_precision=wishes.color_precision,
        )
        if len(drawn) > SVG_BYTES_MAX:
            raise FormFault(
                f"vectorize: the drawing has {len(drawn)} bytes, more than {SVG_BYTES_MAX}; "
                "a larger payload.filter_speckle makes it plainer"
            )
        return drawn
