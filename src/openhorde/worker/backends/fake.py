# SPDX-License-Identifier: AGPL-3.0-or-later
"""The fake engine: pictures made from the seed alone, for trials, tests and load."""

import hashlib
import os
import threading
import time
from collections.abc import Callable

from PIL import Image

from openhorde.worker.backends.base import (
    Artifact,
    Cancelled,
    Capabilities,
    Job,
    JobFault,
    PictureJob,
    ReportProgress,
)
from openhorde.worker.backends.pictures import write_webp
from openhorde.worker.settings import WorkerSettings

MODELS = ["stable_diffusion"]
SAMPLERS = ["k_euler", "k_euler_a"]


def fails(seed: int, rate: float) -> bool:
    """Whether a job with this seed fails at this rate: the same answer each time."""
    digest = hashlib.sha256(str(seed).encode()).digest()
    return int.from_bytes(digest[:4], "big") < rate * 2**32


def invent(seed: int, width_pixels: int, height_pixels: int) -> Image.Image:
    """A soft pattern of 4x4 colours that the seed alone decides."""
    colours = hashlib.shake_256(str(seed).encode()).digest(4 * 4 * 3)
    small = Image.frombytes("RGB", (4, 4), colours)
    return small.resize((width_pixels, height_pixels), Image.Resampling.BICUBIC)


class FakeBackend:
    """Takes `fake_step_seconds` a step; fails as `fake_failure` says, at `fake_failure_rate`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    def open(self) -> Capabilities:
        """Offers the models that the settings name, or one."""
        return Capabilities(
            models=list(self._settings.models_to_load) or MODELS,
            samplers=SAMPLERS,
            features=[
                "img2img",
                "inpainting",
                "lora",
                "textual_inversion",
                "clip_skip",
                "hires_fix",
                "tiling",
            ],
        )

    def run(
        self, job: Job, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> list[Artifact]:
        """See Backend.run."""
        if not isinstance(job, PictureJob):
            raise JobFault("the fake engine only draws")
        for step in range(1, job.steps + 1):
            if cancelled():
                raise Cancelled
            if step == 1 and fails(job.seeds[0], self._settings.fake_failure_rate):
                self._fail()
            time.sleep(self._settings.fake_step_seconds)
            report(step, job.steps)
        pictures = [(seed, invent(seed, job.width_pixels, job.height_pixels)) for seed in job.seeds]
        return [
            Artifact(content=write_webp(picture), media_type="image/webp", seed=seed)
            for seed, picture in pictures
        ]

    def _fail(self) -> None:
        if self._settings.fake_failure == "crash":
            os._exit(70)
        if self._settings.fake_failure == "hang":
            threading.Event().wait()
        raise JobFault("the fake engine was told to fail")
