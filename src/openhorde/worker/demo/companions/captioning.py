# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trains the demo's captioner: a BLIP of a million weights that says what a drawing shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipProcessor,
    BlipTextConfig,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from openhorde.worker.demo.companions.eye import VISION_WIDTH, vision_config
from openhorde.worker.demo.companions.pictures import Pool, Shown, recoloured
from openhorde.worker.demo.companions.stories import with_article
from openhorde.worker.demo.stages import Stage, StageSettings
from openhorde.worker.demo.vocabulary import (
    COLOUR_NAMES,
    PLACE_NAMES,
    SHAPE_NAMES,
    SIDE_PIXELS,
    SIZE_NAMES,
    Attributes,
)

CAPTION_TOKENS_MAX = 32
_FIRST = "[DEC]"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", _FIRST)
_PLACES = {"left": "on the left", "centre": "in the centre", "right": "on the right"}
_MEASURED_AT_ONCE = 64

# Typed as Any because transformers leaves this class without types.
_PROCESSOR: Any = BlipProcessor


def write_caption(shown: Attributes, generator: np.random.Generator) -> str:
    """Return what to say of a picture: mostly the plain sentence, sometimes size and place too."""
    roll = generator.random()
    size = f"{shown.size} " if 0.6 <= roll < 0.75 or roll >= 0.9 else ""
    place = f" {_PLACES[shown.place or 'centre']}" if roll >= 0.75 else ""
    named = with_article(f"{size}{shown.colour} {shown.shape}")
    return f"{named}{place} on {with_article(f'{shown.background} background')}"


def build_processor() -> BlipProcessor:
    """Return BLIP's processor for 64 x 64 pixels, with the few words that captions have."""
    words = {"a", "an", "on", "in", "the", "background", "picture", "of"}
    words |= {*COLOUR_NAMES, *SHAPE_NAMES, *SIZE_NAMES, *PLACE_NAMES}
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*_SPECIAL, *sorted(words | set(letters)), *(f"##{letter}" for letter in letters)]
    tokenizer = BertTokenizer(
        vocab={name: index for index, name in enumerate(names)},
        model_max_length=CAPTION_TOKENS_MAX,
        bos_token=_FIRST,
        clean_up_tokenization_spaces=False,
    )
    pictures = BlipImageProcessorPil(
        size={"height": SIDE_PIXELS, "width": SIDE_PIXELS},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    processor: BlipProcessor = _PROCESSOR(pictures, tokenizer)
    return processor


def build_captioner(tokenizer: BertTokenizer, eye: Any) -> Any:
    """Return an untrained BlipForConditionalGeneration that sees with a trained eye."""
    # Typed as Any because a list of tokens would give a list.
    number: Any = tokenizer.convert_tokens_to_ids
    text = BlipTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=VISION_WIDTH,
        encoder_hidden_size=VISION_WIDTH,
        intermediate_size=2 * VISION_WIDTH,
        projection_dim=VISION_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CAPTION_TOKENS_MAX,
        bos_token_id=number(_FIRST),
        eos_token_id=number("[SEP]"),
        sep_token_id=number("[SEP]"),
        pad_token_id=number("[PAD]"),
    )
    config = BlipConfig(
        text_config=text.to_dict(),
        vision_config=vision_config().to_dict(),
        projection_dim=VISION_WIDTH,
        image_text_hidden_size=VISION_WIDTH,
    )
    captioner = BlipForConditionalGeneration(config)
    captioner.vision_model.load_state_dict(eye.vision.state_dict())
    return captioner


def train_captioner(
    settings: StageSettings,
    seed: int,
    folder: Path,
    pool: Callable[[], Pool],
    held_out: list[Shown],
    processor: BlipProcessor,
    eye: Any,
) -> Any:
    """Train or resume the captioner and return it."""
    torch.manual_seed(seed + 62)
    generator = np.random.default_rng([seed, 62])
    tokenizer = processor.tokenizer
    network = build_captioner(tokenizer, eye)
    stage = Stage(settings, network, generator, torch.device("cpu"), folder)
    shapes = torch.tensor(tokenizer.convert_tokens_to_ids(list(SHAPE_NAMES)))

    def loss_of_batch(network: Any) -> torch.Tensor:
        pixels, shown, _ = pool().batch(settings.batch_size, generator)
        captions = [write_caption(one, generator) for one in shown]
        encoded = tokenizer(captions, padding=True, return_tensors="pt")
        numbers = encoded["input_ids"]
        numbers[:, 0] = tokenizer.bos_token_id
        labels = numbers.masked_fill(numbers == tokenizer.pad_token_id, -100)
        # As for the eye: half of the pictures come in colours of no name, and of their captions
        # only the shape is asked.
        half = settings.batch_size // 2
        pixels = torch.cat([recoloured(pixels[:half], generator), pixels[half:]])
        labels[:half][~torch.isin(labels[:half], shapes)] = -100
        loss: torch.Tensor = network(
            pixel_values=pixels,
            input_ids=numbers,
            attention_mask=encoded["attention_mask"],
            labels=labels,
        ).loss
        return loss

    def measure(network: Any) -> str:
        captions = caption_all(network, processor, held_out)
        shares = shares_named(captions, [one.attributes for one in held_out])
        return ", ".join(f"{name} {value}" for name, value in shares.items())

    return stage.run(loss_of_batch, measure)


@torch.no_grad()
def caption_all(model: Any, processor: Any, shown: list[Shown]) -> list[str]:
    """Return the likeliest caption of every picture."""
    captions: list[str] = []
    for first in range(0, len(shown), _MEASURED_AT_ONCE):
        pictures = [one.picture for one in shown[first : first + _MEASURED_AT_ONCE]]
        inputs = processor(images=pictures, return_tensors="pt")
        written = model.generate(**inputs, max_new_tokens=CAPTION_TOKENS_MAX - 1)
        captions += processor.batch_decode(written, skip_special_tokens=True)
    return captions


def names_of(caption: str) -> Attributes:
    """Return the colour, shape and background that a caption names, None where it does not."""
    front, _, back = caption.partition(" on a")
    words, behind = front.split(), back.split()
    return Attributes(
        colour=next((name for name in COLOUR_NAMES if name in words), None),
        background=next((name for name in COLOUR_NAMES if name in behind), None),
        shape=next((name for name in SHAPE_NAMES if name in words), None),
    )


def shares_named(captions: list[str], truths: list[Attributes]) -> dict[str, float]:
    """Return the shares of captions that name colour, shape and background as they are."""
    right: dict[str, list[bool]] = {"colour": [], "shape": [], "background": [], "together": []}
    for caption, truth in zip(captions, truths, strict=True):
        named = names_of(caption)
        colour = named.colour == truth.colour
        shape = named.shape == truth.shape
        right["colour"].append(colour)
        right["shape"].append(shape)
        right["background"].append(named.background == truth.background)
        right["together"].append(colour and shape)
    return {name: round(float(np.mean(values)), 4) for name, values in right.items()}
