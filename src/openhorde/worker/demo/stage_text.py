# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trains the text encoder to write what a caption states as a plain code, the same in any wording.

From the end of the text on, every token's last hidden state becomes the code: one raised number
for each attribute, including one for "not said". Tokens before the end all become one constant.
The denoiser then never meets a wording, only attributes, so a new wording costs it nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CLIPTokenizer

from openhorde.worker.demo.captions import random_caption
from openhorde.worker.demo.drawings import random_attributes
from openhorde.worker.demo.networks import TEXT_WIDTH, TOKENS_PER_PROMPT, build_text_encoder
from openhorde.worker.demo.stages import Stage, StageSettings
from openhorde.worker.demo.vocabulary import ATTRIBUTE_CHOICES, Attributes, attribute_indices

# How far the code raises a number above zero: gives hidden states about the length of CLIP's.
CODE_HEIGHT = 4.0
_CHOICE_COUNTS = [len(choices) + 1 for choices in ATTRIBUTE_CHOICES.values()]
_CODE_WIDTH = sum(_CHOICE_COUNTS)
_FULL_LENGTH_SHARE = 0.25
_CLASS_WEIGHT = 5.0


def tokenize(
    tokenizer: CLIPTokenizer, captions: list[str], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token numbers [batch, 77] and, of the same form, which are at or past the end."""
    encoded = tokenizer(
        captions,
        padding="max_length",
        max_length=TOKENS_PER_PROMPT,
        truncation=True,
        return_tensors="pt",
    )
    numbers: torch.Tensor = torch.as_tensor(encoded["input_ids"]).to(device)
    return numbers, numbers == tokenizer.eos_token_id


def code_of(statements: list[Attributes], device: torch.device) -> torch.Tensor:
    """Return the code [batch, TEXT_WIDTH] of what captions state."""
    code = torch.zeros(len(statements), TEXT_WIDTH, device=device)
    for row, statement in enumerate(statements):
        first = 0
        for index, count in zip(attribute_indices(statement), _CHOICE_COUNTS, strict=True):
            code[row, first + index] = CODE_HEIGHT
            first += count
    return code


def word_constant(device: torch.device) -> torch.Tensor:
    """Return what every token before the end becomes [TEXT_WIDTH], as long as a code."""
    constant = torch.zeros(TEXT_WIDTH, device=device)
    constant[_CODE_WIDTH] = CODE_HEIGHT * len(_CHOICE_COUNTS) ** 0.5
    return constant


def read_code(states: torch.Tensor) -> torch.Tensor:
    """Return the index of each attribute [batch, 5] that states [batch, TEXT_WIDTH] hold."""
    parts = torch.split(states[:, :_CODE_WIDTH], _CHOICE_COUNTS, dim=1)
    return torch.stack([part.argmax(dim=1) for part in parts], dim=1)


def random_captions(
    count: int, generator: np.random.Generator
) -> tuple[list[str], list[Attributes]]:
    """Return training captions and what they state."""
    pairs = [random_caption(random_attributes(generator), generator) for _ in range(count)]
    return [caption for caption, _ in pairs], [stated for _, stated in pairs]


def _text_loss(
    states: torch.Tensor, at_end: torch.Tensor, statements: list[Attributes]
) -> torch.Tensor:
    """Return how far hidden states [batch, tokens, TEXT_WIDTH] are off the code they should be."""
    device = states.device
    code = code_of(statements, device)
    wanted = torch.where(at_end[:, :, None], code[:, None], word_constant(device))
    squared = (states - wanted).square().mean(dim=2)
    loss = squared[at_end].mean() + squared[~at_end].mean()
    rows, columns = at_end.nonzero(as_tuple=True)
    parts = torch.split(states[rows, columns, :_CODE_WIDTH], _CHOICE_COUNTS, dim=1)
    truth = torch.tensor([attribute_indices(one) for one in statements], device=device)[rows]
    for column, part in enumerate(parts):
        cross_entropy = torch.nn.functional.cross_entropy(part, truth[:, column])
        loss = loss + _CLASS_WEIGHT * cross_entropy / len(parts)
    return loss


def train_text_encoder(
    settings: StageSettings,
    seed: int,
    device: torch.device,
    folder: Path,
    tokenizer: CLIPTokenizer,
) -> Any:
    """Train or resume the text encoder and return it."""
    torch.manual_seed(seed + 1)
    generator = np.random.default_rng([seed, 2])
    network = build_text_encoder(tokenizer)
    stage = Stage(settings, network, generator, device, folder)

    def loss_of_batch(network: Any) -> torch.Tensor:
        captions, statements = random_captions(settings.batch_size, generator)
        numbers, at_end = tokenize(tokenizer, captions, device)
        if generator.random() > _FULL_LENGTH_SHARE:
            # Most of the 77 tokens are padding, so most batches are cut to save time.
            longest = int((~at_end).sum(dim=1).max()) + 2
            numbers, at_end = numbers[:, :longest], at_end[:, :longest]
        states = network(numbers).last_hidden_state
        return _text_loss(states, at_end, statements)

    @torch.no_grad()
    def measure(network: Any) -> str:
        captions, statements = random_captions(512, np.random.default_rng(0))
        numbers, at_end = tokenize(tokenizer, captions, device)
        states = network(numbers).last_hidden_state
        first_end = at_end.int().argmax(dim=1)
        truth = torch.tensor([attribute_indices(one) for one in statements], device=device)
        rows = torch.arange(len(captions), device=device)
        right = (read_code(states[rows, first_end]) == truth).all(dim=1).float().mean()
        right_last = (read_code(states[:, -1]) == truth).all(dim=1).float().mean()
        code = code_of(statements, device)
        error = (states[:, -1] - code).square().mean().sqrt()
        return (
            f"read right at the end {float(right):.3f}, at the last token "
            f"{float(right_last):.3f}, error {float(error):.3f}"
        )

    return stage.run(loss_of_batch, measure)
