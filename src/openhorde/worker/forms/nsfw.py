# SPDX-License-Identifier: AGPL-3.0-or-later
"""Nsfw: whether a picture is for adults only, by an image classifier."""

from typing import Any

from PIL import Image

from openhorde.worker.forms.base import on_white
from openhorde.worker.library.folders import find_model, why_not
from openhorde.worker.library.judges import NSFW_LABELS, ClassifierJudge, Judge, OpenNsfw
from openhorde.worker.settings import WorkerSettings

SETTING = "nsfw_model"


class Nsfw:
    """Asks the classifier that `nsfw_model` names, else OpenNsfw; true from `nsfw_threshold` on."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    @staticmethod
    def obstacle(settings: WorkerSettings) -> str | None:
        """See Form.obstacle."""
        if not settings.nsfw_model:
            return OpenNsfw.obstacle()
        return why_not(SETTING, settings.nsfw_model, None, settings)

    def open(self) -> None:
        """See Form.open. A classifier must have a label that is known to mean adults only."""
        self._judge = self._chosen_judge()
        self._judge.open()

    def run(self, picture: Image.Image, payload: dict[str, Any]) -> bool:
        """See Form.run."""
        return self.probability(picture) >= self._settings.nsfw_threshold

    def probability(self, picture: Image.Image) -> float:
        """How sure the classifier is that the picture is for adults only, 0 to 1."""
        return self._judge.score(on_white(picture))

    def _chosen_judge(self) -> Judge:
        name = self._settings.nsfw_model
        if not name:
            return OpenNsfw()
        # It takes seconds to import torch, which OpenNsfw does without.
        from openhorde.worker.library.devices import choose_device

        folder = find_model(SETTING, name, None, self._settings, fetch=True)
        device = choose_device(self._settings.device)
        return ClassifierJudge(SETTING, folder, NSFW_LABELS, str(device))
