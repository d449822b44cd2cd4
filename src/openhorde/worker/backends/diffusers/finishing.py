# SPDX-License-Identifier: AGPL-3.0-or-later
"""What happens to a picture after it is drawn: it is judged, post-processed and judged again."""

from typing import Any

import torch
from msgspec import Struct
from PIL import Image

from openhorde.worker.backends.base import JobFault, PictureJob
from openhorde.worker.backends.diffusers.loading import Model
from openhorde.worker.backends.diffusers.residents import Resident, Residents
from openhorde.worker.forms.base import FormFault
from openhorde.worker.forms.post_processors import PostProcessor, post_processor_kind
from openhorde.worker.library.judges import OwnJudge
from openhorde.worker.library.sizes import size_on_disk
from openhorde.worker.safety.check import SafetyCheck, Unchecked, Verdict
from openhorde.worker.safety.notice import notice
from openhorde.worker.settings import WorkerSettings


class Finished(Struct):
    """A picture that may be sent, and what the one it may stand for was."""

    picture: Image.Image
    verdict: Verdict = "ok"


class Finisher:
    """Judges and post-processes."""

    def __init__(
        self,
        settings: WorkerSettings,
        check: SafetyCheck,
        residents: Residents,
        post_processors: list[str],
    ) -> None:
        self._settings = settings
        self._check = check
        self._residents = residents
        self._offered = frozenset(post_processors)

    def refuse(self, job: PictureJob) -> None:
        """Raise JobFault, before anything is drawn, for what cannot be done afterwards."""
        for name in job.post_processing:
            if name not in self._offered:
                raise JobFault(f"the post-processor {name} is not here")

    def forbids(self, job: PictureJob) -> bool:
        """Whether the words of the job alone make it one to be censored."""
        return job.censor and self._check.forbids(job.prompt)

    def finish(self, picture: Image.Image, job: PictureJob, model: Model) -> Finished:
        """The picture as it is sent. Raises JobFault."""
        verdict = self._judge(picture, job, model)
        if verdict == "ok" and job.post_processing:
            for name in job.post_processing:
                picture = self._process(name, picture, job)
            verdict = self._judge(picture, job, model)
        if verdict != "ok":
            return Finished(notice(picture.size), verdict)
        return Finished(picture)

    def _judge(self, picture: Image.Image, job: PictureJob, model: Model) -> Verdict:
        try:
            return self._check.judge(
                picture.convert("RGB"),
                decent=job.censor,
                own=own_judge(model),
                harmless=model.card.harmless,
            )
        except Unchecked as error:
            raise JobFault(f"the safety check cannot be made: {error}") from error

    def _process(self, name: str, picture: Image.Image, job: PictureJob) -> Image.Image:
        folder = self._settings.post_processors_folder
        guess = size_on_disk(folder / f"{name}.safetensors") if folder is not None else 0
        form: PostProcessor = self._residents.get(
            f"form:{name}", guess, lambda: _opened(name, self._settings)
        )
        payload: dict[str, Any] = {}
        if job.facefixer_strength is not None:
            payload["facefixer_strength"] = job.facefixer_strength
        try:
            return form.run(picture, payload)
        except FormFault as error:
            raise JobFault(f"{name}: {error}") from error
        except torch.OutOfMemoryError:
            raise JobFault(f"{name}: the picture does not fit into the memory") from None


def _opened(name: str, settings: WorkerSettings) -> Resident:
    form = post_processor_kind(name)(settings)
    form.open()
    return Resident(form, form.parts)


def own_judge(model: Model) -> OwnJudge | None:
    """The checker that the model brings, as a judge of one picture."""
    checker, extractor = model.safety_checker, model.feature_extractor
    if checker is None or extractor is None:
        return None

    def objects(picture: Image.Image) -> bool:
        parameter = next(checker.parameters())
        seen = extractor(picture, return_tensors="pt").pixel_values
        device = model.from_text._execution_device
        # The checker only blackens what it objects to, so that it needs no pixels but those.
        _, flags = checker(clip_input=seen.to(device, parameter.dtype), images=torch.zeros(1, 1))
        return bool(flags[0])

    return objects
