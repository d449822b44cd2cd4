# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trains the demo's ranker: a CLIP of a million weights that knows which words fit a drawing.

It learns single words by what it is used for: of a colour, a shape and many other words, the right
one must come out on top. Whole captions it learns as CLIP does, each picture against each caption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTextConfig, CLIPVisionConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from openhorde.worker.demo.captions import known_words
from openhorde.worker.demo.companions.captioning import write_caption
from openhorde.worker.demo.companions.eye import vision_config
from openhorde.worker.demo.companions.pictures import Pool, Shown, pixels_of, recoloured
from openhorde.worker.demo.networks import TOKENS_PER_PROMPT
from openhorde.worker.demo.stages import Stage, StageSettings
from openhorde.worker.demo.tokens import write_tokenizer
from openhorde.worker.demo.vocabulary import (
    COLOUR_NAMES,
    SHAPE_NAMES,
    SIDE_PIXELS,
    attribute_indices,
)
from openhorde.worker.forms.word_lists import CATEGORIES, words_of

_TEXT_WIDTH = 96
_SHARED_WIDTH = 96
# Of a word list this many words stand in one batch beside the colours and the shapes.
_OTHER_WORDS = 24
# Where CLIP's own scale ends after training: a cosine of 1 counts 100.
_SCALE = 4.6052

# Typed as Any because transformers leaves this class without types.
_PROCESSOR: Any = CLIPProcessor


def build_processor(folder: Path) -> CLIPProcessor:
    """Return CLIP's processor for 64 x 64 pixels, with the tokenizer of the diffusion model."""
    tokenizer = write_tokenizer(folder, known_words())
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE_PIXELS},
        crop_size={"height": SIDE_PIXELS, "width": SIDE_PIXELS},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    processor: CLIPProcessor = _PROCESSOR(pictures, tokenizer)
    return processor


def build_ranker(tokenizer: Any, vision_model: Any) -> Any:
    """Return an untrained CLIPModel that sees with the vision network of a trained captioner."""
    seen = vision_config()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        projection_dim=_SHARED_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS_PER_PROMPT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=seen.hidden_size,
        intermediate_size=seen.intermediate_size,
        projection_dim=_SHARED_WIDTH,
        num_hidden_layers=seen.num_hidden_layers,
        num_attention_heads=seen.num_attention_heads,
        image_size=seen.image_size,
        patch_size=seen.patch_size,
        hidden_act=seen.hidden_act,
    )
    ranker = CLIPModel(
        CLIPConfig(
            text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=_SHARED_WIDTH
        )
    )
    ranker.vision_model.load_state_dict(_as_clip(vision_model.state_dict(), ranker.vision_model))
    return ranker


def _as_clip(weights: dict[str, torch.Tensor], target: Any) -> dict[str, torch.Tensor]:
    """Turn the weights of BLIP's vision network into CLIP's, which are alike but for their names.

    CLIP has no bias on its patches, which goes into the positions, and one norm more at the
    beginning, which stays as it is and has to be learnt around.
    """
    mapped: dict[str, torch.Tensor] = dict(target.state_dict())
    for name, weight in weights.items():
        if ".qkv." in name:
            ending = name.rpartition(".")[2]
            for part, piece in zip("qkv", weight.chunk(3), strict=True):
                mapped[name.replace(f"qkv.{ending}", f"{part}_proj.{ending}")] = piece
        elif ".projection." in name:
            mapped[name.replace("projection", "out_proj")] = weight
        elif name in mapped and mapped[name].shape == weight.shape:
            mapped[name] = weight
    positions = weights["embeddings.position_embedding"][0].clone()
    positions[1:] += weights["embeddings.patch_embedding.bias"]
    mapped["embeddings.position_embedding.weight"] = positions
    mapped["embeddings.class_embedding"] = weights["embeddings.class_embedding"].flatten()
    return mapped


def features_of_texts(model: Any, tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """Return unit vectors [texts, width]."""
    encoded = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    features: torch.Tensor = model.get_text_features(**encoded).pooler_output
    return torch.nn.functional.normalize(features, dim=1)


def features_of_pixels(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return unit vectors [batch, width] of pixels [batch, 3, side, side] in -1..1."""
    features: torch.Tensor = model.get_image_features(pixel_values=pixels).pooler_output
    return torch.nn.functional.normalize(features, dim=1)


def train_ranker(
    settings: StageSettings,
    seed: int,
    folder: Path,
    pool: Callable[[], Pool],
    held_out: list[Shown],
    processor: CLIPProcessor,
    vision_model: Any,
    other_words: Sequence[str],
) -> Any:
    """Train or resume the ranker and return it; other_words are those that fit no drawing."""
    torch.manual_seed(seed + 63)
    generator = np.random.default_rng([seed, 63])
    tokenizer = processor.tokenizer
    network = build_ranker(tokenizer, vision_model)
    with torch.no_grad():
        network.logit_scale.fill_(_SCALE)
    network.logit_scale.requires_grad_(False)
    stage = Stage(settings, network, generator, torch.device("cpu"), folder)
    colour_column, shape_column = 0, 2

    def loss_of_batch(network: Any) -> torch.Tensor:
        pixels, shown, truth = pool().batch(settings.batch_size, generator)
        half = settings.batch_size // 2
        pixels = torch.cat([pixels[:half], recoloured(pixels[half:], generator)])
        chosen = generator.choice(len(other_words), size=_OTHER_WORDS, replace=False)
        others = [other_words[int(index)] for index in chosen]
        captions = [write_caption(one, generator) for one in shown[:half]]
        texts = [*COLOUR_NAMES, *SHAPE_NAMES, *others, *captions]
        similar = (
            features_of_pixels(network, pixels) @ features_of_texts(network, tokenizer, texts).T
        )
        scores = similar * network.logit_scale.exp()
        colours, shapes, rest, whole = torch.split(
            scores, [len(COLOUR_NAMES), len(SHAPE_NAMES), len(others), len(captions)], dim=1
        )
        entropy = torch.nn.functional.cross_entropy
        # As for the eye: the last of the pictures come in colours of no name, and are asked for
        # their shape alone.
        named = slice(0, len(captions))
        loss: torch.Tensor = entropy(
            torch.cat([colours, rest], dim=1)[named], truth[named, colour_column]
        )
        loss = loss + entropy(torch.cat([shapes, rest], dim=1), truth[:, shape_column])
        # Pictures of the same colour, shape and background may bear each other's captions.
        key = truth[:, :3]
        same = (key[:, None] == key[None, : len(captions)]).all(dim=2).float()
        bearing = same[: len(captions)]
        wanted = bearing / bearing.sum(dim=1, keepdim=True)
        whole = whole[: len(captions)]
        return loss + (entropy(whole, wanted) + entropy(whole.T, wanted)) / 2

    def measure(network: Any) -> str:
        shares = shares_on_top(network, tokenizer, held_out)
        return ", ".join(f"{name} {value}" for name, value in shares.items())

    return stage.run(loss_of_batch, measure)


@torch.no_grad()
def shares_on_top(model: Any, tokenizer: Any, shown: list[Shown]) -> dict[str, float]:
    """Return the shares of pictures whose colour, and whose shape, stands first of its kind."""
    seen = features_of_pixels(model, pixels_of(np.stack([one.picture for one in shown])))
    truth = torch.tensor([attribute_indices(one.attributes) for one in shown])
    shares = {}
    for name, column, words in (("colour", 0, COLOUR_NAMES), ("shape", 2, SHAPE_NAMES)):
        ranked = seen @ features_of_texts(model, tokenizer, words).T
        right = (ranked.argmax(dim=1) == truth[:, column]).float().mean()
        shares[name] = round(float(right), 4)
    return shares


def words_that_fit_no_drawing() -> tuple[str, ...]:
    """Return the phrases of interrogation's lists in which no word of the drawings stands."""
    ours = {*COLOUR_NAMES, *SHAPE_NAMES, "turquoise", "violet", "disc", "dots", "kite"}
    phrases = dict.fromkeys(word for name in CATEGORIES for word in words_of(name))
    return tuple(phrase for phrase in phrases if not ours & set(phrase.split()))
