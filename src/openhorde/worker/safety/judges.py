# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who can judge a picture: an image classifier from a folder, or any other that has this face."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

NSFW_LABELS = frozenset(
    {"nsfw", "porn", "pornography", "hentai", "sexy", "sexual", "explicit", "nude", "nudity"}
    | {"unsafe", "not_safe", "not safe", "erotic"}
)
MINOR_LABELS = frozenset({"csam", "minor", "child", "children", "underage", "kid", "teen"})

OwnJudge = Callable[[Image.Image], bool]
"""A model's own checker: whether it objects to a picture."""


class Judge(Protocol):
    """Tells how sure it is, 0 to 1, that a picture is of the kind that it knows."""

    def open(self) -> None:
        """Get ready. Raises RuntimeError, for the owner, when it cannot judge at all."""
        ...

    def score(self, picture: Image.Image) -> float:
        """How sure it is. Whatever it raises means that the picture was not judged."""
        ...


class ClassifierJudge:
    """An image classifier of the transformers library; what its labels in `labels` get together.

    Reads safetensors alone, from a folder alone, and runs no code that lies in it.
    """

    def __init__(self, setting: str, folder: Path, labels: frozenset[str], device: str) -> None:
        self._setting = setting
        self._folder = folder
        self._labels = labels
        self._device = device

    def open(self) -> None:
        """See Judge.open."""
        import torch
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        from openhorde.worker.library.loading import load_beside, load_model

        if not (self._folder / "config.json").is_file():
            raise RuntimeError(f"{self._setting}: there is no model in {self._folder}")
        try:
            device = torch.device(self._device)
            self._model = load_model(AutoModelForImageClassification, self._folder, device)
            self._processor = load_beside(AutoImageProcessor, self._folder)
        except RuntimeError as error:
            raise RuntimeError(f"{self._setting}: {error}") from error
        names = self._model.config.id2label
        self._indices = [index for index, name in names.items() if _plain(name) in self._labels]
        if not self._indices:
            raise RuntimeError(
                f"{self._setting}: {self._folder} knows {', '.join(map(str, names.values()))}; "
                f"one of its labels must be among {', '.join(sorted(self._labels))}"
            )

    def score(self, picture: Image.Image) -> float:
        """See Judge.score."""
        import torch

        inputs = self._processor(images=picture.convert("RGB"), return_tensors="pt")
        pixels = inputs["pixel_values"].to(self._model.device, self._model.dtype)
        with torch.inference_mode():
            shares = self._model(pixel_values=pixels).logits[0].float().softmax(-1)
        return float(shares[self._indices].sum())


def _plain(label: Any) -> str:
    return str(label).strip().lower()
