# SPDX-License-Identifier: AGPL-3.0-or-later
"""Forms that make a picture of a picture, by their names on the wire.

They serve alchemy, and the `post_processing` of pictures that were just drawn.
"""

from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Protocol, cast

from PIL import Image

from openhorde.worker.forms.base import Form
from openhorde.worker.settings import WorkerSettings

UPSCALERS = (
    "RealESRGAN_x4plus",
    "RealESRGAN_x2plus",
    "RealESRGAN_x4plus_anime_6B",
    "NMKD_Siax",
    "4x_AnimeSharp",
    "4xNomos8kSC",
    "4xLSDIRplus",
    "4xNomosWebPhoto_RealPLKSR",
    "4xNomos2_realplksr_dysample",
    "4xNomos2_hq_dat2",
    "2xModernSpanimationV1",
)
FACE_FIXERS = ("GFPGAN", "GFPGANv1.3", "RestoreFormer")
# CodeFormers is not among them: its weights must not be used commercially, and here work is paid.
POST_PROCESSORS = (
    dict.fromkeys(UPSCALERS, "openhorde.worker.forms.upscale:Upscale")
    | dict.fromkeys(FACE_FIXERS, "openhorde.worker.forms.faces:FixFaces")
    | {"strip_background": "openhorde.worker.forms.strip_background:StripBackground"}
)


class PostProcessor(Form, Protocol):
    """A form that gives a picture."""

    name: ClassVar[str]

    @property
    def parts(self) -> dict[str, Any]:
        """Torch's modules that take room in memory, by name, once it is open."""
        ...

    def run(self, picture: Image.Image, payload: dict[str, Any]) -> Image.Image:
        """See Form.run."""
        ...


@cache
def post_processor_kind(name: str) -> type[PostProcessor]:
    """The class of the post-processor of that name. Raises KeyError when there is none."""
    module, _, kind = POST_PROCESSORS[name].partition(":")
    found = getattr(import_module(module), kind)
    return cast(type[PostProcessor], type(kind, (found,), {"name": name}))


def offered(settings: WorkerSettings) -> list[str]:
    """The post-processors that can be had."""
    return [
        name for name in POST_PROCESSORS if post_processor_kind(name).obstacle(settings) is None
    ]
