# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine itself: opens the forms and the language models, and does jobs."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from PIL import Image

from openhorde.incoming.texts import encode_json, mended
from openhorde.worker.backends.base import (
    Artifact,
    Cancelled,
    Capabilities,
    FormJob,
    InMemory,
    Job,
    JobFault,
    ReportProgress,
    TextJob,
    information,
)
from openhorde.worker.backends.pictures import read_picture, write_webp
from openhorde.worker.forms.base import Form, FormFault
from openhorde.worker.forms.registry import KNOWN, form_kind, obstacles
from openhorde.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from openhorde.worker.backends.transformers.catalogue import TextCard
    from openhorde.worker.backends.transformers.texts import Writers

log = structlog.get_logger(__name__)


class TransformersBackend:
    """Does the forms of alchemy that can be done here, and writes with `text_models`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._forms: dict[str, Form] = {}
        self._closed: set[str] = set()
        self._writers: Writers | None = None

    def open(self) -> Capabilities:
        """See Backend.open. A form or a model that cannot be opened is told and not offered."""
        settings = self._settings
        os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars are for people at a terminal
        import torch
        from transformers.utils.logging import disable_progress_bar

        from openhorde.worker.library.devices import choose_device

        disable_progress_bar()  # type: ignore[no-untyped-call]
        if settings.cpu_threads:
            torch.set_num_threads(settings.cpu_threads)
        device = choose_device(settings.device)
        torch.zeros(1, device=device)  # fails here, and plainly, when the device is not there
        reasons: list[str] = []
        cards: list[TextCard] = []
        if "alchemy" in settings.kinds:
            self._open_forms(reasons)
        if "text" in settings.kinds:
            cards = self._open_texts(device, reasons)
        if not self._forms and not cards:
            raise RuntimeError("; ".join(reasons) or "no form and no text model is to be had")
        text_models = [card.name for card in cards]
        log.info("open", device=str(device), forms=list(self._forms), text_models=text_models)
        return Capabilities(
            forms=list(self._forms),
            text_models=text_models,
            tokens_max=min((card.tokens_offered for card in cards), default=0),
            context_tokens_max=min((card.context_tokens_offered for card in cards), default=0),
        )

    def in_memory(self) -> list[InMemory]:
        """See KeepsModels. Forms keep what they need as long as they are open."""
        return self._writers.in_memory() if self._writers is not None else []

    def run(
        self, job: Job, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> list[Artifact]:
        """See Backend.run. A form is one step; of a text every token is."""
        match job:
            case FormJob():
                return [self._do_form(job, report, cancelled)]
            case TextJob():
                return [self._write(job, report, cancelled)]
            case _:
                raise JobFault("transformers draws no pictures")

    def _open_forms(self, reasons: list[str]) -> None:
        """Open the forms that the owner wants. The others wait, closed, for a change of mind."""
        wanted = self._settings.forms or KNOWN
        for name, obstacle in obstacles(self._settings).items():
            if obstacle is None:
                form = form_kind(name)(self._settings)
                try:
                    if name in wanted:
                        form.open()
                    else:
                        self._closed.add(name)
                except RuntimeError as error:
                    obstacle = str(error)
                else:
                    self._forms[name] = form
            if obstacle is not None:
                log.warning("a form is not offered", form=name, reason=obstacle)
                reasons.append(f"{name}: {obstacle}")

    def _open_texts(self, device: Any, reasons: list[str]) -> "list[TextCard]":
        """The language models that can be had."""
        from openhorde.worker.backends.transformers.catalogue import find_text_models
        from openhorde.worker.backends.transformers.texts import Writers

        try:
            cards = find_text_models(self._settings)
            self._writers = Writers(cards, device, self._settings.models_in_memory)
            # The first one now, so that the first job need not wait and a bad one shows.
            self._writers.get(cards[0].name)
        except RuntimeError as error:
            log.warning("no text is written", reason=str(error))
            reasons.append(str(error))
            return []
        return cards

    def _do_form(
        self, job: FormJob, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> Artifact:
        report(0, 1)
        form = self._opened(job.form)
        picture = read_picture(job.source, "source_image")
        if cancelled():
            raise Cancelled
        try:
            told = form.run(picture, job.payload)
        except FormFault as fault:
            raise JobFault(str(fault)) from fault
        report(1, 1)
        if isinstance(told, Image.Image):
            return Artifact(content=write_webp(told), media_type="image/webp", seed=0)
        content = encode_json(told)
        return Artifact(content=content, media_type="application/json", seed=0)

    def _opened(self, name: str) -> Form:
        form = self._forms.get(name)
        if form is None:
            known = "cannot be done here" if name in KNOWN else "is not known here"
            raise JobFault(f"the form {name} {known}")
        if name in self._closed:
            try:
                form.open()
            except RuntimeError as error:
                raise JobFault(str(error)) from error
            self._closed.remove(name)
        return form

    def _write(
        self, job: TextJob, report: ReportProgress, cancelled: Callable[[], bool]
    ) -> Artifact:
        from openhorde.worker.backends.transformers.texts import write

        report(0, job.tokens_max)
        missing = JobFault(f"the model {job.model} is not here")
        if self._writers is None:
            raise missing
        try:
            writer = self._writers.get(job.model)
        except KeyError:
            raise missing from None
        except RuntimeError as error:
            raise JobFault(str(error)) from error
        written = write(writer, job, report, cancelled)
        return Artifact(
            content=mended(written.text).encode(),
            media_type="text/plain",
            seed=written.seed,
            notes=[information(told) for told in written.told],
        )
