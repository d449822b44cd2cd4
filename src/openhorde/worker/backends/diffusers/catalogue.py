# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which models there are on disk. Looks only: nothing is loaded, and torch is not needed.

A model is a diffusers folder, or a `.safetensors` checkpoint. A folder may hold `openhorde.json`,
a checkpoint `NAME.safetensors` may have `NAME.json` beside it: `name`, `baseline`,
`native_side_pixels` for a model that can only draw near that size, `steps_max` for one that gains
nothing from more, `subject` (see library/subject.py) for one that knows little, and `harmless` for
one that knows nothing indecent, so that its pictures need no check. `NAME.config/` beside a
checkpoint is a diffusers folder without weights that tells how to read it; without one the
configuration of the public model of its baseline is used.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct
from safetensors import SafetensorError, safe_open

from openhorde.incoming.texts import read_json_file
from openhorde.worker.engine_settings import Name
from openhorde.worker.library.subject import Subject

Kind = TypeVar("Kind")
INDEX = "model_index.json"
Family = Literal["stable_diffusion", "stable_diffusion_xl"]
FAMILIES: dict[str, Family] = {
    "StableDiffusionPipeline": "stable_diffusion",
    "StableDiffusionImg2ImgPipeline": "stable_diffusion",
    "StableDiffusionInpaintPipeline": "stable_diffusion",
    "StableDiffusionXLPipeline": "stable_diffusion_xl",
    "StableDiffusionXLImg2ImgPipeline": "stable_diffusion_xl",
    "StableDiffusionXLInpaintPipeline": "stable_diffusion_xl",
}
# Only checkpoints of Stable Diffusion XL hold a second text encoder, and under this name.
XL_KEY_START = "conditioner.embedders.1."


class _Index(Struct):
    family: str = msgspec.field(name="_class_name")


class _Sidecar(Struct):
    name: Name | None = None
    baseline: str | None = None
    native_side_pixels: Annotated[int, Meta(ge=8, le=8192)] | None = None
    steps_max: Annotated[int, Meta(ge=1)] | None = None
    subject: Subject | None = None
    harmless: bool = False


class ModelCard(Struct, frozen=True, kw_only=True):
    """One model on disk. `native_side_pixels` is set where it cannot draw larger, `steps_max` where
    it draws in no more steps, `subject` where it knows but that."""

    name: str
    path: Path
    family: Family
    baseline: str | None = None
    native_side_pixels: int | None = None
    steps_max: int | None = None
    subject: Subject | None = None
    config: Path | None = None
    harmless: bool = False

    @property
    def brings_checker(self) -> bool:
        """Whether a checker of its pictures lies with it."""
        return (self.path / "safety_checker").is_dir()

    @property
    def is_file(self) -> bool:
        """Whether it is a single-file checkpoint."""
        return self.path.suffix == ".safetensors"


def find_models(folder: Path, wanted: list[str]) -> list[ModelCard]:
    """The models in a folder, or the wanted ones of them, by name.

    Raises RuntimeError, for the owner, when the folder or a wanted model is not there or a file
    beside a model cannot be read.
    """
    if not folder.is_dir():
        raise RuntimeError(
            f"models_folder: there is no folder {folder.absolute()}: set it to your models "
            "(docs/gpu-worker.md says how to get one)"
        )
    places = [folder] if (folder / INDEX).exists() else sorted(folder.iterdir())
    cards = [card for place in places if (card := _card(place)) is not None]
    if not cards:
        raise RuntimeError(
            f"models_folder: {folder} holds no diffusers folder and no .safetensors checkpoint"
        )
    by_name = {card.name: card for card in cards}
    absent = [name for name in wanted if name not in by_name]
    if absent:
        there = ", ".join(sorted(by_name))
        raise RuntimeError(f"models_to_load: {', '.join(absent)} not found; there is: {there}")
    return [by_name[name] for name in wanted] if wanted else list(by_name.values())


def _card(place: Path) -> ModelCard | None:
    if (place / INDEX).exists():
        family = _family_of_folder(place)
        sidecar = _sidecar(place / "openhorde.json")
        config, name = None, place.resolve().name
    elif place.suffix == ".safetensors" and place.is_file():
        config = place.with_suffix(".config")
        config = config if (config / INDEX).exists() else None
        family = _family_of_folder(config) if config is not None else _family_of_file(place)
        sidecar = _sidecar(place.with_suffix(".json"))
        name = place.stem
    else:
        return None
    if family is None or place.suffix == ".config":
        return None
    return ModelCard(
        name=sidecar.name or name,
        path=place,
        family=family,
        baseline=sidecar.baseline,
        native_side_pixels=sidecar.native_side_pixels,
        steps_max=sidecar.steps_max,
        subject=sidecar.subject,
        config=config,
        harmless=sidecar.harmless,
    )


def _family_of_folder(folder: Path) -> Family | None:
    return FAMILIES.get(_read(folder / INDEX, _Index).family)


def _family_of_file(path: Path) -> Family | None:
    try:
        with safe_open(path, framework="numpy") as checkpoint:
            names = checkpoint.keys()
            is_xl = any(name.startswith(XL_KEY_START) for name in names)
    except SafetensorError as error:
        raise RuntimeError(f"{path} is not a safetensors file: {error}") from error
    return "stable_diffusion_xl" if is_xl else "stable_diffusion"


def _sidecar(path: Path) -> _Sidecar:
    return _read(path, _Sidecar) if path.exists() else _Sidecar()


def _read(path: Path, kind: type[Kind]) -> Kind:
    try:
        return read_json_file(path, kind)
    except (OSError, msgspec.DecodeError) as error:
        raise RuntimeError(f"{path} cannot be read: {error}") from error
