# SPDX-License-Identifier: AGPL-3.0-or-later
"""Caption: a sentence about a picture, by a model of BLIP's class."""

from typing import Annotated, Any

from msgspec import Meta, Struct
from PIL import Image

from openhorde.worker.forms.base import FormFault, on_white, read_payload
from openhorde.worker.library.folders import find_model, why_not
from openhorde.worker.settings import WorkerSettings

SETTING = "caption_model"
SHIPPED = "caption"
# What is tried; they need no prompt to caption.
FAMILIES = ("blip",)


class Wishes(Struct, kw_only=True):
    """What the asker may say. Lengths are in tokens; with `top_p` words are drawn by chance."""

    num_beams: Annotated[int, Meta(ge=1, le=12)] | None = None
    min_length: Annotated[int, Meta(ge=0, le=200)] = 0
    max_length: Annotated[int, Meta(ge=1, le=400)] = 50
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(ge=1, le=3)] = 1.0


class Caption:
    """Writes the caption with the model that `caption_model` names."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    @staticmethod
    def obstacle(settings: WorkerSettings) -> str | None:
        """See Form.obstacle."""
        return why_not(SETTING, settings.caption_model, SHIPPED, settings)

    def open(self) -> None:
        """See Form.open."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        from openhorde.worker.library.devices import choose_device
        from openhorde.worker.library.loading import load_beside, load_model

        name = self._settings.caption_model
        folder = find_model(SETTING, name, SHIPPED, self._settings, fetch=True)
        self._device = choose_device(self._settings.device)
        self._model = load_model(AutoModelForImageTextToText, folder, self._device)
        family = self._model.config.model_type
        if family not in FAMILIES:
            raise RuntimeError(
                f"{SETTING}: {folder} is of the family {family}; captions are written by one of "
                + ", ".join(FAMILIES)
            )
        self._processor = load_beside(AutoProcessor, folder)
        text_config = self._model.config.get_text_config(decoder=True)
        self._positions = int(text_config.max_position_embeddings)

    def run(self, picture: Image.Image, payload: dict[str, Any]) -> str:
        """See Form.run."""
        import torch

        wishes = read_payload("caption", payload, Wishes)
        inputs = self._processor(images=on_white(picture), return_tensors="pt")
        pixels = inputs["pixel_values"].to(self._device, self._model.dtype)
        with torch.inference_mode():
            written = self._model.generate(pixel_values=pixels, **self._generate_words(wishes))
        text: str = self._processor.batch_decode(written, skip_special_tokens=True)[0]
        return text.strip()

    def _generate_words(self, wishes: Wishes) -> dict[str, Any]:
        """The wishes in the words of transformers' generate()."""
        if wishes.min_length > wishes.max_length:
            raise FormFault(
                f"caption: payload.min_length is {wishes.min_length}, and must not be more than "
                f"payload.max_length, which is {wishes.max_length}"
            )
        # The first position is the start of the sentence.
        room = self._positions - 1
        drawn = wishes.top_p is not None
        words: dict[str, Any] = {
            "max_new_tokens": min(wishes.max_length, room),
            "min_new_tokens": min(wishes.min_length, room),
            "num_beams": wishes.num_beams or (1 if drawn else 3),
            "repetition_penalty": wishes.repetition_penalty,
            "do_sample": drawn,
        }
        if drawn:
            words |= {"top_p": wishes.top_p, "top_k": 0}
        return words
