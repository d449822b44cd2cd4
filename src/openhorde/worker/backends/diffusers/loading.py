# SPDX-License-Identifier: AGPL-3.0-or-later
"""Loading models: safetensors only, kept in memory as long as there is room."""

from collections import OrderedDict
from typing import Any

import diffusers
import structlog
import torch
from msgspec import Struct

from openhorde.worker.backends.diffusers.catalogue import ModelCard

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
MASKED_CHANNELS = 9

log = structlog.get_logger(__name__)


class Model(Struct):
    """A loaded model: three pipelines over the same weights."""

    card: ModelCard
    from_text: Any
    from_image: Any
    masked: Any
    scheduler_config: dict[str, Any]
    safety_checker: Any = None

    @property
    def multiple_pixels(self) -> int:
        """Sides must be multiples of this."""
        return int(self.from_text.vae_scale_factor)

    @property
    def native_side_pixels(self) -> int:
        """The side of the square that the model was trained on."""
        if self.card.native_side_pixels is not None:
            return self.card.native_side_pixels
        return int(self.from_text.unet.config.sample_size) * self.multiple_pixels

    @property
    def only_masked(self) -> bool:
        """Whether it is an inpainting model, which draws nothing without a mask."""
        return int(self.from_text.unet.config.in_channels) == MASKED_CHANNELS


class Models:
    """The models at hand; the one not used for longest makes room for the next."""

    def __init__(self, cards: list[ModelCard], device: torch.device, count_max: int) -> None:
        self._cards = {card.name: card for card in cards}
        self._device = device
        self._count_max = count_max
        self._loaded: OrderedDict[str, Model] = OrderedDict()

    def preload(self) -> list[str]:
        """Load as many as are kept, so that the first job need not wait and a bad one shows.

        Returns the names of all models but those that could not be loaded. Raises RuntimeError
        when that leaves none.
        """
        reason = ""
        for name in list(self._cards)[: self._count_max]:
            try:
                self.get(name)
            except Exception as error:
                # A model is many files of others' making; no wrong one may cost the rest.
                reason = f"the model {name} cannot be loaded: {error}"
                log.exception("a model cannot be loaded and is not offered", model=name)
                del self._cards[name]
        if not self._cards:
            raise RuntimeError(reason)
        return list(self._cards)

    def get(self, name: str) -> Model:
        """The model, loaded if it is not yet. Raises KeyError when there is none of that name."""
        card = self._cards[name]
        if name not in self._loaded:
            while len(self._loaded) >= self._count_max:
                self._loaded.popitem(last=False)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            log.info("loading a model", model=name)
            self._loaded[name] = _load(card, self._device)
        self._loaded.move_to_end(name)
        return self._loaded[name]


def choose_device(wanted: str) -> torch.device:
    """The device of that name; for "auto" the best there is."""
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _load(card: ModelCard, device: torch.device) -> Model:
    half = device.type == "cuda"
    kinds = [getattr(diffusers, name) for name in PIPELINES[card.family]]
    options: dict[str, Any] = {"torch_dtype": torch.float16 if half else torch.float32}
    checked = card.family == "stable_diffusion" and (card.path / "safety_checker").is_dir()
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
    pipeline.to(device)
    checker = getattr(pipeline, "safety_checker", None)
    extra: dict[str, Any] = {}
    if card.family == "stable_diffusion":
        pipeline.register_to_config(requires_safety_checker=False)
        extra = {"requires_safety_checker": False}
    from_image, masked = (kind(**pipeline.components, **extra) for kind in kinds[1:])
    for one in (pipeline, from_image, masked):
        one.set_progress_bar_config(disable=True)
    pipeline.vae.enable_slicing()
    config = dict(pipeline.scheduler.config)
    return Model(card, pipeline, from_image, masked, config, checker)
