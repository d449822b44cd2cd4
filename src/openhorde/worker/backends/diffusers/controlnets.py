# SPDX-License-Identifier: AGPL-3.0-or-later
"""Controlnets on disk, and which of the wire's control types they serve.

`controlnets_folder` holds diffusers folders, or .safetensors files with `NAME.config/` beside them.
What a controlnet is for is told by its name (`control_v11p_sd15_canny`), or by `control_types` in
`openhorde.json` of its folder or `NAME.json` beside its file.
"""

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from msgspec import Struct, field

from openhorde.incoming.texts import read_json_file
from openhorde.worker.backends.diffusers.catalogue import Family, ModelCard
from openhorde.worker.backends.diffusers.residents import Resident, Residents
from openhorde.worker.library.sizes import size_on_disk

CONFIG = "config.json"
# Words in names that stand for each type; the first type that fits counts.
SIGNS = {
    "fakescribbles": ("fakescribble",),
    "scribble": ("scribble",),
    "canny": ("canny",),
    "hed": ("hed", "softedge"),
    "depth": ("depth",),
    "normal": ("normal",),
    "openpose": ("openpose", "pose"),
    "seg": ("seg",),
    "hough": ("hough", "mlsd"),
}
# How wide the text embeddings are that the public models of a family work with.
WIDTHS: dict[Family, int] = {"stable_diffusion": 768, "stable_diffusion_xl": 2048}


class _Config(Struct):
    cross_attention_dim: int


class _Sidecar(Struct):
    control_types: list[str] = field(default_factory=list)


class ControlCard(Struct, frozen=True, kw_only=True):
    """A controlnet on disk. `width` is that of the text embeddings it works with."""

    path: Path
    config: Path
    control_types: tuple[str, ...]
    width: int


def find_controlnets(folder: Path | None) -> list[ControlCard]:
    """The controlnets in a folder.

    Raises RuntimeError, for the owner, when the folder is not there or a file cannot be read.
    """
    if folder is None:
        return []
    if not folder.is_dir():
        raise RuntimeError(f"controlnets_folder: there is no folder {folder.absolute()}")
    cards = [_card(place) for place in sorted(folder.iterdir())]
    return [card for card in cards if card is not None]


def _card(place: Path) -> ControlCard | None:
    if place.is_dir():
        config, beside = place, place / "openhorde.json"
        if not any(place.glob("*.safetensors")):
            return None
    elif place.suffix == ".safetensors":
        config, beside = place.with_suffix(".config"), place.with_suffix(".json")
    else:
        return None
    if not (config / CONFIG).is_file():
        return None
    try:
        read = read_json_file(config / CONFIG, _Config)
        told = read_json_file(beside, _Sidecar) if beside.exists() else None
    except (OSError, msgspec.DecodeError) as error:
        raise RuntimeError(f"controlnets_folder: {place.name}: {error}") from error
    types = tuple(told.control_types) if told is not None else ()
    return ControlCard(
        path=place,
        config=config,
        control_types=types or types_in_name(place.stem),
        width=read.cross_attention_dim,
    )


def types_in_name(name: str) -> tuple[str, ...]:
    """The control types that a controlnet of that name serves."""
    lowered = name.lower()
    found = next((kind for kind, signs in SIGNS.items() if any(s in lowered for s in signs)), None)
    if found is None:
        return ()
    # Both are drawn lines to the network; they differ in how they are made from a picture.
    return ("scribble", "fakescribbles") if found == "scribble" else (found,)


def width_of(card: ModelCard) -> int:
    """How wide the text embeddings are that a model works with."""
    folder = card.config if card.config is not None else card.path
    try:
        content = (folder / "unet" / CONFIG).read_bytes()
        return msgspec.json.decode(content, type=_Config).cross_attention_dim
    except (OSError, msgspec.DecodeError):
        return WIDTHS[card.family]


class Controlnets:
    """The controlnets of an engine, loaded when they are asked for."""

    def __init__(self, cards: list[ControlCard], dtype: torch.dtype, residents: Residents) -> None:
        self._cards = cards
        self._dtype = dtype
        self._residents = residents

    def types_for(self, models: list[ModelCard]) -> list[str]:
        """The control types that at least one of the models can follow."""
        widths = {width_of(model) for model in models}
        kinds = {
            kind for card in self._cards if card.width in widths for kind in card.control_types
        }
        return [kind for kind in SIGNS if kind in kinds]

    def get(self, control_type: str, width: int) -> Any:
        """The network for a type and a model. Raises KeyError when there is none."""
        for card in self._cards:
            if card.width == width and control_type in card.control_types:
                key = f"controlnet:{card.path.name}"
                return self._residents.get(key, size_on_disk(card.path), partial(self._load, card))
        raise KeyError(control_type)

    def _load(self, card: ControlCard) -> Resident:
        from diffusers import ControlNetModel

        options: dict[str, Any] = {"torch_dtype": self._dtype, "local_files_only": True}
        if card.path.is_dir():
            network = ControlNetModel.from_pretrained(card.path, use_safetensors=True, **options)
        else:
            network = ControlNetModel.from_single_file(
                str(card.path), config=str(card.config), **options
            )
        return Resident(network, {"controlnet": network})
