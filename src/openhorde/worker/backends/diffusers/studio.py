# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where jobs are drawn: everything that is loaded, and the order in which it does its part."""

import contextlib
from collections.abc import Callable, Generator

import torch
from msgspec import Struct, field
from PIL import Image, ImageOps

from openhorde.worker.backends.base import (
    Cancelled,
    JobFault,
    Note,
    PictureJob,
    ReportProgress,
    information,
)
from openhorde.worker.backends.diffusers import annotators
from openhorde.worker.backends.diffusers.adapters import adapted
from openhorde.worker.backends.diffusers.annotators import Annotators
from openhorde.worker.backends.diffusers.catalogue import ModelCard
from openhorde.worker.backends.diffusers.controlnets import (
    Controlnets,
    find_controlnets,
    width_of,
)
from openhorde.worker.backends.diffusers.drawing import Control, Drawer
from openhorde.worker.backends.diffusers.finishing import Finisher
from openhorde.worker.backends.diffusers.loading import (
    Model,
    Models,
    controlled,
    dtype_for,
)
from openhorde.worker.backends.diffusers.residents import Residents, budgets_for
from openhorde.worker.backends.diffusers.samplers import SAMPLERS
from openhorde.worker.backends.diffusers.tiling import seamless
from openhorde.worker.backends.pictures import read_picture
from openhorde.worker.forms.post_processors import offered
from openhorde.worker.library.devices import choose_device
from openhorde.worker.library.sizes import Sizes
from openhorde.worker.safety.check import SafetyCheck, Verdict
from openhorde.worker.safety.notice import notice
from openhorde.worker.settings import WorkerSettings


class Work(Struct):
    """One finished picture, what the one it may stand for was, and what to tell of it."""

    picture: Image.Image
    verdict: Verdict = "ok"
    notes: list[Note] = field(default_factory=list)


class Studio:
    """Draws with the given models."""

    def __init__(self, settings: WorkerSettings, cards: list[ModelCard]) -> None:
        if settings.cpu_threads:
            torch.set_num_threads(settings.cpu_threads)
        self.device = choose_device(settings.device)
        torch.zeros(1, device=self.device)  # fails here, and plainly, when it is not there
        self._settings = settings
        self._cards = cards
        self.residents = Residents(
            self.device,
            budgets_for(settings, self.device),
            Sizes(settings.cache_folder),
            pinned=frozenset(f"model:{name}" for name in settings.pinned_models),
            may_lend=settings.cpu_offload,
            count_max=settings.models_in_memory,
        )
        self.models = Models(cards, self.device, self.residents)
        self._controlnets = Controlnets(
            find_controlnets(settings.controlnets_folder), dtype_for(self.device), self.residents
        )
        self._annotators = Annotators(settings.annotators_folder, self.device, self.residents)
        self._check = SafetyCheck(settings, str(self.device))
        self._finisher = Finisher(settings, self._check, self.residents, offered(settings))
        self.control_types: list[str] = []

    def open(self) -> list[str]:
        """Load the checks and what models find room; the names of the models that can be had.

        Raises RuntimeError, for the owner.
        """
        self._check.open()
        names = self.models.preload(self._settings.models_in_memory)
        cards = [card for card in self._cards if card.name in names]
        self.control_types = [
            kind
            for kind in self._controlnets.types_for(cards)
            if annotators.obstacle(kind, self._settings.annotators_folder) is None
        ]
        return names

    def work(
        self, job: PictureJob, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> Generator[Work, None, None]:
        """One finished picture for each seed. Raises JobFault or Cancelled."""
        if job.sampler not in SAMPLERS:
            raise JobFault(f"the sampler {job.sampler} is not known here")
        self._finisher.refuse(job)
        if self._finisher.forbids(job):
            picture = notice((job.width_pixels, job.height_pixels))
            yield from (Work(picture, "nsfw", _told("nsfw")) for _ in job.seeds)
            return
        report(0, job.steps)
        with self.residents.job():
            model = self._model(job.model)
            report(0, job.steps)
            drawn, notes = self._drawn(model, job, report, cancelled)
            for picture in drawn:
                if cancelled():
                    raise Cancelled
                report(job.steps, job.steps)
                finished = self._finisher.finish(picture, job, model)
                told = notes + _told(finished.verdict)
                yield Work(finished.picture, finished.verdict, told)

    def _model(self, name: str) -> Model:
        try:
            return self.models.get(name)
        except KeyError:
            raise JobFault(f"the model {name} is not here") from None

    def _drawn(
        self,
        model: Model,
        job: PictureJob,
        report: ReportProgress,
        cancelled: Callable[[], bool],
    ) -> tuple[list[Image.Image], list[Note]]:
        control_map = self._control_map(job) if job.control_type is not None else None
        if control_map is not None and job.return_control_map:
            return [control_map] * len(job.seeds), []
        control = self._control(model, job, control_map) if control_map is not None else None
        pipeline = model.from_text
        networks = [pipeline.unet, pipeline.vae]
        if control is not None:
            networks.append(control.pipeline.controlnet)
        seams = seamless(*networks) if job.tiling else contextlib.nullcontext()
        with seams, adapted(pipeline, model.card.family, job, self._settings) as said:
            drawer = Drawer(model, job, report, cancelled, control)
            drawn = drawer.draw(said.prompt, said.negative_prompt)
        notes = [*said.notes, *drawer.notes()]
        approximation = SAMPLERS[job.sampler].approximation
        if approximation is not None:
            notes.append(information(f"{job.sampler}: {approximation}"))
        return drawn, notes

    def _control_map(self, job: PictureJob) -> Image.Image:
        if job.source is None:
            raise JobFault(f"control_type {job.control_type}: it needs a source image")
        size = (job.width_pixels, job.height_pixels)
        picture = read_picture(job.source, "source_image").convert("RGB")
        picture = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
        if job.image_is_control or job.control_type is None:
            return picture
        return self._annotators.make_map(job.control_type, picture)

    def _control(self, model: Model, job: PictureJob, control_map: Image.Image) -> Control:
        try:
            network = self._controlnets.get(job.control_type or "", width_of(model.card))
        except KeyError:
            raise JobFault(
                f"control_type {job.control_type}: there is no controlnet of it for {job.model}"
            ) from None
        return Control(controlled(model, network), control_map)


def _told(verdict: Verdict) -> list[Note]:
    return [] if verdict == "ok" else [Note(type="censorship", value=verdict)]
