# SPDX-License-Identifier: AGPL-3.0-or-later
"""Drawing a job: from text, from a picture, or into the holes of one; once, or in two passes."""

from collections.abc import Callable
from typing import Any

import torch
from msgspec import Struct
from PIL import Image, ImageOps

from openhorde.worker.backends.base import (
    Cancelled,
    JobFault,
    Note,
    PictureJob,
    ReportProgress,
    information,
)
from openhorde.worker.backends.diffusers.loading import Model
from openhorde.worker.backends.diffusers.prompts import condition
from openhorde.worker.backends.diffusers.samplers import SAMPLERS, make_scheduler
from openhorde.worker.backends.diffusers.sizes import within
from openhorde.worker.backends.pictures import Sources, read_sources

LANCZOS = Image.Resampling.LANCZOS
VAE_WHOLE_PIXELS_MAX = 1536 * 1536
Size = tuple[int, int]


class Control(Struct):
    """What guides a drawing: the pipeline that can follow it, and a map of any size."""

    pipeline: Any
    picture: Image.Image


class Drawer:
    """Draws one job with one model. `report` and `cancelled` as for Backend.run."""

    def __init__(
        self,
        model: Model,
        job: PictureJob,
        report: ReportProgress,
        cancelled: Callable[[], bool],
        control: Control | None = None,
    ) -> None:
        self._model = model
        self._control = control
        self._job = job
        self._report = report
        self._cancelled = cancelled
        self._passes = 1
        self._pass = 0
        self._source_notes: list[Note] = []
        self._size = self._size_drawn()
        self._steps = min(job.steps, model.card.steps_max or job.steps)

    def notes(self) -> list[Note]:
        """What the requester should know of how it was drawn."""
        job, card = self._job, self._model.card
        asked = (job.width_pixels, job.height_pixels)
        told = []
        if self._size[0] * self._size[1] < asked[0] * asked[1]:
            told.append(
                f"{card.name} draws small: drawn at {self._size[0]}x{self._size[1]} and enlarged "
                f"to {asked[0]}x{asked[1]}"
            )
        if self._steps < job.steps:
            told.append(f"{card.name} gains nothing from more steps: drawn in {self._steps}")
        hint = card.subject.hint_for(job.prompt) if card.subject is not None else None
        if hint is not None:
            told.append(hint)
        return [*self._source_notes, *map(information, told)]

    def _size_drawn(self) -> Size:
        """The size asked for, or one of its shape that the model can draw."""
        job, model = self._job, self._model
        size = (job.width_pixels, job.height_pixels)
        if model.card.native_side_pixels is None:
            return size
        return within(*size, model.card.native_side_pixels, model.multiple_pixels)

    def draw(self, prompt: str, negative_prompt: str) -> list[Image.Image]:
        """One picture for each seed, at the size the job asks for."""
        job, model = self._job, self._model
        self._guided = job.cfg_scale > 1
        self._prompts = condition(
            model.from_text, prompt, negative_prompt, job.clip_skip, self._guided
        ).arguments()
        sources = read_sources(job) if self._control is None else Sources()
        self._source_notes = sources.notes
        try:
            drawn = self._all(sources, job.seeds)
        except torch.OutOfMemoryError:
            if len(job.seeds) == 1:
                raise JobFault("the picture does not fit into the memory") from None
            torch.cuda.empty_cache()
            drawn = [one for seed in job.seeds for one in self._all(sources, [seed])]
        asked = (job.width_pixels, job.height_pixels)
        return [self._fitted(picture, sources, asked) for picture in drawn]

    def _fitted(self, picture: Image.Image, sources: Sources, asked: Size) -> Image.Image:
        """At the size asked for; what the mask does not show is the source's, to the pixel."""
        if picture.size != asked:
            picture = picture.resize(asked, LANCZOS)
        if sources.mask is None or sources.picture is None:
            return picture
        kept = ImageOps.fit(sources.picture, asked, LANCZOS)
        return Image.composite(picture, kept, ImageOps.fit(sources.mask, asked, LANCZOS))

    def _all(self, sources: Sources, seeds: list[int]) -> list[Image.Image]:
        job, model = self._job, self._model
        size = self._size
        first_size = within(*size, model.native_side_pixels, model.multiple_pixels)
        twice = (
            job.hires_fix
            and sources.picture is None
            and self._control is None
            and not model.only_masked
            and first_size[0] * first_size[1] < size[0] * size[1]
        )
        self._pass, self._passes = 0, 1 + twice
        if self._control is not None:
            return self._controlled(self._control, size, seeds)
        if sources.mask is not None and sources.picture is not None:
            return self._masked(sources.picture, sources.mask, size, seeds)
        if sources.picture is not None:
            return self._from_images([sources.picture], size, seeds, job.denoising_strength)
        if model.only_masked:
            nothing = Image.new("RGB", size, "grey")
            return self._masked(nothing, Image.new("L", size, 255), size, seeds, strength=1.0)
        drawn = self._run(
            model.from_text,
            seeds,
            width=first_size[0] if twice else size[0],
            height=first_size[1] if twice else size[1],
        )
        if not twice:
            return drawn
        self._pass = 1
        return self._from_images(drawn, size, seeds, job.hires_fix_strength)

    def _controlled(self, control: Control, size: Size, seeds: list[int]) -> list[Image.Image]:
        return self._run(
            control.pipeline,
            seeds,
            image=ImageOps.fit(control.picture, size, LANCZOS),
            width=size[0],
            height=size[1],
            controlnet_conditioning_scale=float(self._job.control_strength),
        )

    def _from_images(
        self, pictures: list[Image.Image], size: Size, seeds: list[int], strength: float
    ) -> list[Image.Image]:
        fitted = [ImageOps.fit(picture, size, LANCZOS) for picture in pictures]
        images = fitted if len(fitted) == len(seeds) else fitted * len(seeds)
        return self._run(self._model.from_image, seeds, image=images, strength=strength)

    def _masked(
        self,
        picture: Image.Image,
        mask: Image.Image,
        size: Size,
        seeds: list[int],
        strength: float | None = None,
    ) -> list[Image.Image]:
        return self._run(
            self._model.masked,
            seeds,
            image=ImageOps.fit(picture, size, LANCZOS),
            mask_image=ImageOps.fit(mask, size, LANCZOS),
            width=size[0],
            height=size[1],
            strength=strength if strength is not None else self._job.denoising_strength,
        )

    def _run(self, pipeline: Any, seeds: list[int], **arguments: Any) -> list[Image.Image]:
        job, model = self._job, self._model
        fewest = SAMPLERS[job.sampler].steps_min
        steps = _enough(max(self._steps, fewest), arguments.get("strength"))
        pipeline.scheduler = make_scheduler(
            model.scheduler_config, job.sampler, job.karras, seeds, steps
        )
        pixels = job.width_pixels * job.height_pixels
        if pixels > VAE_WHOLE_PIXELS_MAX:
            pipeline.vae.enable_tiling()
        else:
            pipeline.vae.disable_tiling()
        images = arguments.get("image")
        many = isinstance(images, list)
        prompts = self._prompts
        if many:
            prompts = {name: torch.cat([one] * len(seeds)) for name, one in prompts.items()}
        with torch.inference_mode():
            made = pipeline(
                **prompts,
                **arguments,
                num_images_per_prompt=1 if many else len(seeds),
                num_inference_steps=steps,
                guidance_scale=job.cfg_scale if self._guided else 1.0,
                generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                callback_on_step_end=self._step_ended,
            )
        return list(made.images)

    def _step_ended(
        self, pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        """Counts a two-pass drawing as one; some samplers run more steps than were asked for."""
        if self._cancelled():
            raise Cancelled
        share = (self._pass + (index + 1) / max(1, pipeline.num_timesteps)) / self._passes
        self._report(min(self._job.steps, round(share * self._job.steps)), self._job.steps)
        return {}


def _enough(steps: int, strength: float | None) -> int:
    """So many steps that at least one is left of a schedule of which `strength` is run."""
    return steps if strength is None else max(steps, int(1 / strength) + 1)
