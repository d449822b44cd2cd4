# SPDX-License-Identifier: AGPL-3.0-or-later
"""Loading models: safetensors only, kept in memory as long as there is room."""

import math
import time
from typing import Any

import diffusers
import structlog
import torch
from msgspec import Struct

from openhorde.worker.backends.diffusers.catalogue import ModelCard
from openhorde.worker.backends.diffusers.residents import Resident, Residents
from openhorde.worker.library.sizes import size_on_disk

PIPELINES = {
    "stable_diffusion": (
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
    ),
    "stable_diffusion_xl": (
        "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusionXLInpaintPipeline",
    ),
}
CONTROLLED = {
    "stable_diffusion": "StableDiffusionControlNetPipeline",
    "stable_diffusion_xl": "StableDiffusionXLControlNetPipeline",
}
MASKED_CHANNELS = 9
PIPELINE_MULTIPLE_PIXELS = 8
"""Diffusers refuses other sides, however fine a model's latents are."""
PRELOAD_SECONDS_MAX = 120.0

log = structlog.get_logger(__name__)


class Model(Struct):
    """A loaded model: three pipelines over the same weights."""

    card: ModelCard
    from_text: Any
    from_image: Any
    masked: Any
    scheduler_config: dict[str, Any]
    safety_checker: Any = None
    feature_extractor: Any = None

    @property
    def multiple_pixels(self) -> int:
        """Sides must be multiples of this: of a latent's side, and of what pipelines want."""
        return math.lcm(int(self.from_text.vae_scale_factor), PIPELINE_MULTIPLE_PIXELS)

    @property
    def native_side_pixels(self) -> int:
        """The side of the square that the model was trained on."""
        if self.card.native_side_pixels is not None:
            return self.card.native_side_pixels
        latent_pixels = int(self.from_text.vae_scale_factor)
        return int(self.from_text.unet.config.sample_size) * latent_pixels

    @property
    def only_masked(self) -> bool:
        """Whether it is an inpainting model, which draws nothing without a mask."""
        return int(self.from_text.unet.config.in_channels) == MASKED_CHANNELS


class Models:
    """The models on disk, loaded when they are asked for."""

    def __init__(self, cards: list[ModelCard], device: torch.device, residents: Residents) -> None:
        self._cards = {card.name: card for card in cards}
        self._device = device
        self._residents = residents

    @property
    def warm(self) -> list[str]:
        """The models in memory, the last used first."""
        keys = (key.partition(":") for key in self._residents.held())
        return [name for kind, _, name in keys if kind == "model"]

    @property
    def sizes_bytes(self) -> dict[str, int]:
        """What each model takes in memory: measured, or guessed from its files."""
        sizes = self._sizes()
        return {name: sizes[_key(name)] for name in self._cards}

    def _sizes(self) -> dict[str, int]:
        known = self._residents.sizes.known()
        return {
            _key(name): known.get(_key(name)) or _guess(card) for name, card in self._cards.items()
        }

    def preload(self, count_max: int) -> list[str]:
        """Load what there is room for, so that the first job need not wait and a bad one shows.

        Returns the names of all models but those that could not be loaded. Raises RuntimeError
        when that leaves none.
        """
        reason = ""
        loaded = 0
        first = self._residents.choose([_key(name) for name in self._cards], self._sizes())
        until = time.monotonic() + PRELOAD_SECONDS_MAX
        for name in sorted(self._cards, key=lambda name: _key(name) not in first):
            enough = loaded == count_max > 0 or time.monotonic() > until
            if loaded and (enough or _key(name) not in first):
                continue
            try:
                with self._residents.job():
                    self.get(name)
                loaded += 1
            except Exception as error:
                # A model is many files of others' making; no wrong one may cost the rest.
                reason = f"the model {name} cannot be loaded: {error}"
                log.exception("a model cannot be loaded and is not offered", model=name)
                del self._cards[name]
        if not self._cards:
            raise RuntimeError(reason)
        return list(self._cards)

    def get(self, name: str) -> Model:
        """The model, loaded if it is not yet. Raises KeyError when there is none of that name,
        JobFault when there is no room for it."""
        card = self._cards[name]
        model: Model = self._residents.get(
            _key(name), _guess(card), lambda: _load(card, self._device)
        )
        return model


def _key(name: str) -> str:
    return f"model:{name}"


def _guess(card: ModelCard) -> int:
    return size_on_disk(card.path)


def _load(card: ModelCard, device: torch.device) -> Resident:
    log.info("loading a model", model=card.name)
    kinds = [getattr(diffusers, name) for name in PIPELINES[card.family]]
    options: dict[str, Any] = {"torch_dtype": dtype_for(device)}
    checked = card.family == "stable_diffusion" and card.brings_checker
    if card.family == "stable_diffusion" and not checked:
        options["safety_checker"] = None
    if card.is_file:
        if card.config is not None:
            options |= {"config": str(card.config), "local_files_only": True}
        pipeline = kinds[0].from_single_file(str(card.path), **options)
    else:
        pipeline = kinds[0].from_pretrained(
            card.path, use_safetensors=True, local_files_only=True, **options
        )
    checker = getattr(pipeline, "safety_checker", None)
    extra = _unchecked(card.family)
    if extra:
        pipeline.register_modules(safety_checker=None)
        pipeline.register_to_config(**extra)
    from_image, masked = (kind(**pipeline.components, **extra) for kind in kinds[1:])
    for one in (pipeline, from_image, masked):
        one.set_progress_bar_config(disable=True)
    pipeline.vae.enable_slicing()
    model = Model(
        card,
        pipeline,
        from_image,
        masked,
        dict(pipeline.scheduler.config),
        checker,
        getattr(pipeline, "feature_extractor", None),
    )
    parts = {
        name: part
        for name, part in (pipeline.components | {"safety_checker": checker}).items()
        if isinstance(part, torch.nn.Module)
    }
    return Resident(model, parts)


def dtype_for(device: torch.device) -> torch.dtype:
    """How exactly to reckon on a device."""
    return torch.float16 if device.type == "cuda" else torch.float32


def controlled(model: Model, controlnet: Any) -> Any:
    """One more pipeline over the model's weights: it follows a control map."""
    pipeline = getattr(diffusers, CONTROLLED[model.card.family])(
        **model.from_text.components,
        controlnet=controlnet,
        **_unchecked(model.card.family),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _unchecked(family: str) -> dict[str, Any]:
    """Pictures are checked when they are finished, not by the pipeline."""
    return {"requires_safety_checker": False} if family == "stable_diffusion" else {}
