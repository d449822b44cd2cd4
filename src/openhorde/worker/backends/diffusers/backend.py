# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine itself: finds the models, opens the device, and does jobs."""

import contextlib
import os
from collections.abc import Callable

import structlog

from openhorde.worker.backends.base import (
    Artifact,
    Capabilities,
    Feature,
    Job,
    JobFault,
    Note,
    PictureJob,
    ReportProgress,
)
from openhorde.worker.backends.diffusers.catalogue import find_models
from openhorde.worker.backends.pictures import write_webp
from openhorde.worker.settings import WorkerSettings

FEATURES: list[Feature] = ["img2img", "inpainting", "clip_skip", "hires_fix", "tiling"]

log = structlog.get_logger(__name__)


class DiffusersBackend:
    """Draws pictures with the models of `models_folder`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    def open(self) -> Capabilities:
        """See Backend.open. Models beyond `models_in_memory` are loaded when asked for."""
        settings = self._settings
        cards = find_models(settings.models_folder, settings.models_to_load)
        # After the models were found, for this takes seconds.
        os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars are for people at a terminal
        import torch

        from openhorde.worker.backends.diffusers.adapters import loras_possible
        from openhorde.worker.backends.diffusers.loading import Models, choose_device
        from openhorde.worker.backends.diffusers.samplers import SAMPLERS

        if settings.cpu_threads:
            torch.set_num_threads(settings.cpu_threads)
        device = choose_device(settings.device)
        torch.zeros(1, device=device)  # fails here, and plainly, when the device is not there
        self._models = Models(cards, device, settings.models_in_memory)
        names = self._models.preload()
        features = list(FEATURES)
        if settings.loras_folder is not None and loras_possible():
            features.append("lora")
        if settings.embeddings_folder is not None:
            features.append("textual_inversion")
        if settings.censor_nsfw and not settings.nsfw:
            log.info("pictures are checked only where a model brings its safety checker")
        log.info("open", device=str(device), models=names)
        return Capabilities(models=names, samplers=list(SAMPLERS), features=features)

    def run(
        self, job: Job, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> list[Artifact]:
        """See Backend.run."""
        from openhorde.worker.backends.diffusers.adapters import adapted
        from openhorde.worker.backends.diffusers.drawing import Drawer
        from openhorde.worker.backends.diffusers.samplers import SAMPLERS
        from openhorde.worker.backends.diffusers.tiling import seamless

        if not isinstance(job, PictureJob):
            raise JobFault("diffusers only draws")
        if job.sampler not in SAMPLERS:
            raise JobFault(f"the sampler {job.sampler} is not known here")
        report(0, job.steps)
        try:
            model = self._models.get(job.model)
        except KeyError:
            raise JobFault(f"the model {job.model} is not here") from None
        report(0, job.steps)
        pipeline = model.from_text
        seams = seamless(pipeline.unet, pipeline.vae) if job.tiling else contextlib.nullcontext()
        folders = (self._settings.loras_folder, self._settings.embeddings_folder)
        with seams, adapted(pipeline, job, *folders) as said:
            drawn = Drawer(model, job, report, cancelled).draw(said.prompt, said.negative_prompt)
        notes = list(said.notes)
        approximation = SAMPLERS[job.sampler].approximation
        if approximation is not None:
            notes.append(
                Note(type="information", value="see_ref", ref=f"{job.sampler}: {approximation}")
            )
        censored = [Note(type="censorship", value="nsfw")]
        return [
            Artifact(
                content=write_webp(one.picture),
                media_type="image/webp",
                seed=seed,
                notes=notes + (censored if one.censored else []),
                censored=one.censored,
            )
            for seed, one in zip(job.seeds, drawn, strict=True)
        ]
