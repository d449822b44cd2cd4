# SPDX-License-Identifier: AGPL-3.0-or-later
"""The fake engine: invents every kind of result, for trials, tests and load.

A picture depends on its seed alone, whatever it is to start from; a form on its source, a text on
its seed or else its prompt.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable

from PIL import Image

from openhorde.worker.backends.base import (
    Artifact,
    Cancelled,
    Capabilities,
    FormJob,
    Job,
    JobFault,
    PictureJob,
    ReportProgress,
    TextJob,
)
from openhorde.worker.backends.pictures import read_picture, write_webp
from openhorde.worker.settings import WorkerSettings

MODEL_BYTES = 2**30
MODELS = ["stable_diffusion"]
TEXT_MODELS = ["fake-writer"]
SAMPLERS = [
    *("k_lms", "k_heun", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a", "k_dpm_fast"),
    *("k_dpm_adaptive", "k_dpmpp_2s_a", "k_dpmpp_2m", "dpmsolver", "k_dpmpp_sde", "DDIM", "lcm"),
]
UPSCALERS = {"RealESRGAN_x2plus": 2, "RealESRGAN_x4plus": 4}
FORMS = ["caption", "nsfw", "interrogation", "strip_background", *UPSCALERS]
SIDE_PIXELS_MAX = 2048
WORDS = ["a", "red", "green", "blue", "circle", "square", "house", "boat", "under", "over", "the"]
JUNK = b"\xff not what was asked for"
TOKENS_MAX = 512
CONTEXT_TOKENS_MAX = 4096


def fails(seed: int, rate: float) -> bool:
    """Whether a job with this seed fails at this rate: the same answer each time."""
    digest = hashlib.sha256(str(seed).encode()).digest()
    return int.from_bytes(digest[:4], "big") < rate * 2**32


def invent(seed: int, width_pixels: int, height_pixels: int) -> Image.Image:
    """A soft pattern of 4x4 colours that the seed alone decides."""
    colours = hashlib.shake_256(str(seed).encode()).digest(4 * 4 * 3)
    small = Image.frombytes("RGB", (4, 4), colours)
    return small.resize((width_pixels, height_pixels), Image.Resampling.BICUBIC)


def seed_of(content: bytes | str) -> int:
    """A number that the content alone decides."""
    given = content.encode() if isinstance(content, str) else content
    return int.from_bytes(hashlib.sha256(given).digest()[:4], "big")


def write(seed: int, words: int) -> str:
    """So many words that the seed alone decides."""
    picks = hashlib.shake_256(str(seed).encode()).digest(words)
    return " ".join(WORDS[pick % len(WORDS)] for pick in picks)


class FakeBackend:
    """Takes `fake_step_seconds` a step; fails as `fake_failure` says, at `fake_failure_rate`.

    A picture has its steps; a form or a text is one step. Its models claim a GiB of
    `ram_memory_mib` each.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    def open(self) -> Capabilities:
        """Offers the models that the settings name, or one."""
        models = list(self._settings.models_to_load) or MODELS
        return Capabilities(
            model_bytes=dict.fromkeys(models, MODEL_BYTES),
            memory_bytes=self._settings.ram_memory_mib * 2**20,
            models=models,
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
            forms=FORMS,
            text_models=TEXT_MODELS,
            tokens_max=TOKENS_MAX,
            context_tokens_max=CONTEXT_TOKENS_MAX,
        )

    def run(
        self, job: Job, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> list[Artifact]:
        """See Backend.run."""
        steps = job.steps if isinstance(job, PictureJob) else 1
        self._spend(job, steps, report, cancelled)
        if self._settings.fake_failure == "junk" and self._fails(job):
            return [Artifact(content=JUNK, media_type="text/plain", seed=0)]
        match job:
            case PictureJob():
                return [_picture(invent(seed, *_size(job)), seed) for seed in job.seeds]
            case FormJob():
                return [_form(job)]
            case TextJob():
                return [_text(job)]

    def _fails(self, job: Job) -> bool:
        return fails(_seed(job), self._settings.fake_failure_rate)

    def _spend(
        self, job: Job, steps: int, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> None:
        """Pass the time that the settings name, or fail."""
        for step in range(1, steps + 1):
            if cancelled():
                raise Cancelled
            if step == 1 and self._fails(job):
                self._fail()
            time.sleep(self._settings.fake_step_seconds)
            report(step, steps)

    def _fail(self) -> None:
        if self._settings.fake_failure == "crash":
            os._exit(70)
        if self._settings.fake_failure == "hang":
            threading.Event().wait()
        if self._settings.fake_failure == "fault":
            raise JobFault("the fake engine was told to fail")


def _seed(job: Job) -> int:
    """What decides whether the job fails."""
    match job:
        case PictureJob():
            return job.seeds[0]
        case FormJob():
            return seed_of(job.source)
        case TextJob():
            return seed_of(job.prompt)


def _size(job: PictureJob) -> tuple[int, int]:
    return job.width_pixels, job.height_pixels


def _picture(picture: Image.Image, seed: int) -> Artifact:
    return Artifact(content=write_webp(picture), media_type="image/webp", seed=seed)


def _form(job: FormJob) -> Artifact:
    source = read_picture(job.source, "source_image")
    seed = seed_of(job.source)
    if job.form == "strip_background":
        source.putalpha(128)
        return _picture(source, seed)
    if job.form in UPSCALERS:
        factor = UPSCALERS[job.form]
        sides = [min(side * factor, SIDE_PIXELS_MAX) for side in source.size]
        return _picture(source.convert("RGB").resize((sides[0], sides[1])), seed)
    values: dict[str, object] = {
        "caption": write(seed, 6),
        "nsfw": seed % 2 == 0,
        "interrogation": {
            "tags": [
                {"text": word, "confidence": round(0.9 - 0.2 * rank, 2)}
                for rank, word in enumerate(write(seed, 3).split())
            ]
        },
    }
    if job.form not in values:
        raise JobFault(f"the fake engine cannot do the form {job.form}")
    content = json.dumps(values[job.form]).encode()
    return Artifact(content=content, media_type="application/json", seed=seed)


def _text(job: TextJob) -> Artifact:
    seed = seed_of(job.prompt) if job.seed is None else job.seed
    written = " " + write(seed, min(job.tokens_max, TOKENS_MAX))
    for stop in job.stop_sequences:
        written = written.partition(stop)[0] if stop else written
    return Artifact(content=written.encode(), media_type="text/plain", seed=seed)
