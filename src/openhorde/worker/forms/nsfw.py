# SPDX-License-Identifier: AGPL-3.0-or-later
"""Nsfw: whether a picture is for adults only, by an image classifier."""

from typing import Any

from PIL import Image

from openhorde.worker.forms.base import on_white
from openhorde.worker.library.folders import find_model, why_not
from openhorde.worker.settings import WorkerSettings

SETTING = "nsfw_model"
SHIPPED = "nsfw"
# What classifiers call pictures that are for adults only, in small letters.
LABELS = frozenset(
    {"nsfw", "unsafe", "not safe for work", "porn", "pornography", "hentai", "sexy", "sexual"}
    | {"explicit", "explicit_nudity", "nude", "nudity", "adult", "erotic"}
)


class Nsfw:
    """Asks the classifier that `nsfw_model` names; true from `nsfw_threshold` on."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    @staticmethod
    def obstacle(settings: WorkerSettings) -> str | None:
        """See Form.obstacle."""
        return why_not(SETTING, settings.nsfw_model, SHIPPED, settings)

    def open(self) -> None:
        """See Form.open. A classifier must have a label that is known to mean adults only."""
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        from openhorde.worker.library.devices import choose_device
        from openhorde.worker.library.loading import load_beside, load_model

        name = self._settings.nsfw_model
        folder = find_model(SETTING, name, SHIPPED, self._settings, fetch=True)
        self._device = choose_device(self._settings.device)
        self._model = load_model(AutoModelForImageClassification, folder, self._device)
        self._processor = load_beside(AutoImageProcessor, folder)
        labels = {int(index): str(label) for index, label in self._model.config.id2label.items()}
        self._columns = [index for index, label in labels.items() if label.lower() in LABELS]
        if not self._columns:
            raise RuntimeError(
                f"{SETTING}: of the labels of {folder} ({', '.join(labels.values())}) none is "
                f"known to mean adults only; known are: {', '.join(sorted(LABELS))}"
            )

    def run(self, picture: Image.Image, payload: dict[str, Any]) -> bool:
        """See Form.run."""
        return self.probability(picture) >= self._settings.nsfw_threshold

    def probability(self, picture: Image.Image) -> float:
        """How sure the classifier is that the picture is for adults only, 0 to 1."""
        import torch

        inputs = self._processor(images=on_white(picture), return_tensors="pt")
        pixels = inputs["pixel_values"].to(self._device, self._model.dtype)
        with torch.inference_mode():
            shares = self._model(pixel_values=pixels).logits.float().softmax(dim=1)[0]
        return float(shares[self._columns].sum())
