# SPDX-License-Identifier: AGPL-3.0-or-later
"""Upscalers: larger pictures, in tiles, so that memory depends on the tile and not the picture."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from openhorde.worker.forms.base import FormFault
from openhorde.worker.settings import WorkerSettings

TILE_PIXELS = 256
MARGIN_PIXELS = 32
# No WebP is longer.
SIDE_PIXELS_MAX = 16383

Enlarge = Callable[[Any], Any]
"""Takes and gives a tensor (1, 3, height, width) of values 0 to 1."""


class Upscale:
    """One upscaler: the file `NAME.safetensors` of `post_processors_folder`."""

    name: ClassVar[str]

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    @classmethod
    def obstacle(cls, settings: WorkerSettings) -> str | None:
        """Why it cannot be offered; None when it can."""
        from openhorde.worker.forms.networks import why_unreadable

        return why_unreadable(settings.post_processors_folder, cls.name)

    def open(self) -> None:
        """Load the network. Raises RuntimeError when the file holds none that can be read."""
        from openhorde.worker.forms.networks import load_network

        self._network = load_network(self._settings, self.name)

    @property
    def parts(self) -> dict[str, Any]:
        """The networks whose weights take room in memory."""
        return {"network": self._network.module}

    def run(self, picture: Image.Image, payload: dict[str, Any]) -> Image.Image:
        """The picture, larger. Raises FormFault when it would be larger than is allowed."""
        scale = self._network.scale
        check_size(picture.width * scale, picture.height * scale, self._settings)
        enlarged = enlarge(
            picture.convert("RGB"), scale, self._network.multiple, self._network.enlarge
        )
        if picture.has_transparency_data:
            alpha = picture.convert("RGBA").getchannel("A")
            enlarged.putalpha(alpha.resize(enlarged.size, Image.Resampling.LANCZOS))
        return enlarged


def check_size(width: int, height: int, settings: WorkerSettings) -> None:
    """Raise FormFault when a picture of that size must not be made."""
    pixels_max = settings.upscaled_megapixels_max * 1_000_000
    if width * height > pixels_max or max(width, height) > SIDE_PIXELS_MAX:
        raise FormFault(
            f"the result would have {width}x{height} pixels; at most "
            f"{settings.upscaled_megapixels_max} million are allowed, and {SIDE_PIXELS_MAX} a side"
        )


def enlarge(picture: Image.Image, scale: int, multiple: int, enlarge_tile: Enlarge) -> Image.Image:
    """Enlarge an RGB picture tile by tile. Each is seen with what is around it, so that where
    tiles meet nothing shows. Sides of what the network sees are multiples of `multiple`."""
    import torch

    pixels = np.asarray(picture, dtype=np.uint8)
    height, width = pixels.shape[:2]
    result = np.empty((height * scale, width * scale, 3), dtype=np.uint8)
    for top in range(0, height, TILE_PIXELS):
        for left in range(0, width, TILE_PIXELS):
            bottom, right = min(height, top + TILE_PIXELS), min(width, left + TILE_PIXELS)
            first_row, first_column = max(0, top - MARGIN_PIXELS), max(0, left - MARGIN_PIXELS)
            seen = pixels[
                first_row : min(height, bottom + MARGIN_PIXELS),
                first_column : min(width, right + MARGIN_PIXELS),
            ]
            padding = [(0, -seen.shape[0] % multiple), (0, -seen.shape[1] % multiple), (0, 0)]
            padded = np.pad(seen, padding, mode="edge")
            tile = torch.from_numpy(padded.astype(np.float32) / 255).permute(2, 0, 1)[None]
            made = enlarge_tile(tile)[0].permute(1, 2, 0).float().cpu().numpy()
            row, column = (top - first_row) * scale, (left - first_column) * scale
            rows, columns = (bottom - top) * scale, (right - left) * scale
            inner = made[row : row + rows, column : column + columns]
            result[top * scale : bottom * scale, left * scale : right * scale] = np.rint(
                np.clip(np.nan_to_num(inner), 0, 1) * 255
            ).astype(np.uint8)
    return Image.fromarray(result)
