# SPDX-License-Identifier: AGPL-3.0-or-later
"""Interrogation: which phrases of our word lists fit a picture best, ranked by a CLIP model."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from PIL import Image

from openhorde.worker.forms.base import on_white, read_payload
from openhorde.worker.forms.word_lists import CATEGORIES, words_of
from openhorde.worker.library.folders import find_model, why_not
from openhorde.worker.settings import WorkerSettings

SETTING = "interrogation_model"
SHIPPED = "rank"
_TEXTS_AT_ONCE = 64

Category = Literal[
    "mediums",
    "flavors",
    "artists",
    "movements",
    "sites",
    "techniques",
    "tags",
    "colours",
    "shapes",
]


class Wishes(Struct, kw_only=True):
    """What the asker may say: how many phrases of each category, and of which categories."""

    count: Annotated[int, Meta(ge=1, le=50)] = 5
    categories: Annotated[list[Category], Meta(min_length=1, max_length=20)] | None = None


class Interrogation:
    """Ranks with the CLIP model that `interrogation_model` names."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    @staticmethod
    def obstacle(settings: WorkerSettings) -> str | None:
        """See Form.obstacle."""
        return why_not(SETTING, settings.interrogation_model, SHIPPED, settings)

    def open(self) -> None:
        """See Form.open. The phrases are read once, which takes a large model a while."""
        import torch
        from transformers import AutoModel, AutoProcessor

        from openhorde.worker.library.devices import choose_device
        from openhorde.worker.library.loading import load_beside, load_model

        name = self._settings.interrogation_model
        folder = find_model(SETTING, name, SHIPPED, self._settings, fetch=True)
        self._device = choose_device(self._settings.device)
        self._model = load_model(AutoModel, folder, self._device)
        if self._model.config.model_type != "clip":
            raise RuntimeError(
                f"{SETTING}: {folder} is of the family {self._model.config.model_type}; "
                "interrogation needs one of the family clip"
            )
        self._processor = load_beside(AutoProcessor, folder)
        with torch.inference_mode():
            self._features = {name: self._read(words_of(name)) for name in CATEGORIES}

    def run(
        self, picture: Image.Image, payload: dict[str, Any]
    ) -> dict[str, list[dict[str, str | float]]]:
        """See Form.run. By category: phrases, the best first, with confidences in per cent.

        The confidences of a category's phrases, those not told included, make 100 together.
        """
        import torch

        wishes = read_payload("interrogation", payload, Wishes)
        inputs = self._processor(images=on_white(picture), return_tensors="pt")
        pixels = inputs["pixel_values"].to(self._device, self._model.dtype)
        ranked: dict[str, list[dict[str, str | float]]] = {}
        with torch.inference_mode():
            seen = self._model.get_image_features(pixel_values=pixels).pooler_output
            seen = torch.nn.functional.normalize(seen, dim=1) * self._model.logit_scale.exp()
            for category in wishes.categories or CATEGORIES:
                words = words_of(category)
                shares = (seen @ self._features[category].T)[0].float().softmax(dim=0)
                best = shares.topk(min(wishes.count, len(words)))
                ranked[category] = [
                    {"text": words[int(index)], "confidence": round(100 * float(share), 2)}
                    for share, index in zip(best.values, best.indices, strict=True)
                ]
        return ranked

    def _read(self, phrases: tuple[str, ...]) -> Any:
        """Unit vectors [phrases, width] of what phrases mean."""
        import torch

        features = []
        for first in range(0, len(phrases), _TEXTS_AT_ONCE):
            encoded = self._processor(
                text=list(phrases[first : first + _TEXTS_AT_ONCE]),
                padding=True,
                truncation=True,
                return_tensors="pt",
            ).to(self._device)
            features.append(self._model.get_text_features(**encoded).pooler_output)
        return torch.nn.functional.normalize(torch.cat(features), dim=1)
