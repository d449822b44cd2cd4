# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trains the demo's text model: a plain Llama of a million weights, with a byte-level tokenizer."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from openhorde.worker.demo.companions.stories import (
    open_questions,
    random_hero,
    write_opening,
    write_story,
    write_text,
)
from openhorde.worker.demo.stages import Stage, StageSettings
from openhorde.worker.demo.vocabulary import COLOUR_NAMES, SHAPE_NAMES

# Requests ask for 2048 tokens of context when they do not say.
CONTEXT_TOKENS = 2048
VOCABULARY_SIZE_MAX = 1024
_SHORT_TOKENS = 256
# Every eighth batch is of full length, so that the model keeps its head in a long context.
_STEPS_PER_LONG_BATCH = 8
# To keep to the hero is what is hardest to learn, and few of the tokens of a story show it.
_NAME_WEIGHT = 5.0
_CORPUS_TEXTS = 8000
_TOKENIZER_TEXTS = 3000
_START = "<|start|>"
_END = "<|end|>"
_PAD = "<|pad|>"


def build_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Learn byte pairs from stories; any text can be written, because all bytes are tokens."""
    generator = np.random.default_rng([seed, 50])
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE_MAX,
        special_tokens=[_START, _END, _PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (write_text(generator) for _ in range(_TOKENIZER_TEXTS))
    tokenizer.train_from_iterator(texts, trainer)
    # Typed as Any because transformers leaves this class without types.
    tokenizer_class: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = tokenizer_class(
        tokenizer_object=tokenizer,
        bos_token=_START,
        eos_token=_END,
        pad_token=_PAD,
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    )
    return made


def build_writer(tokenizer: PreTrainedTokenizerFast) -> Any:
    """Return an untrained LlamaForCausalLM for this tokenizer."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=True,
            # The usual 0.02 is for wide networks: in one so narrow attention would start too flat
            # to find anything, and take long to learn that a story keeps to its hero.
            initializer_range=0.08,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_corpus(
    count: int, tokenizer: PreTrainedTokenizerFast, generator: np.random.Generator
) -> torch.Tensor:
    """Return the token numbers [tokens] of count texts, each between its start and its end."""
    numbers: list[int] = []
    for _ in range(count):
        text = write_text(generator)
        encoded = tokenizer.encode(text, add_special_tokens=False)
        numbers += [tokenizer.bos_token_id, *encoded, tokenizer.eos_token_id]
    return torch.tensor(numbers)


def _named_tokens(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return the tokens that begin a colour or a shape within a sentence."""
    names = (*COLOUR_NAMES, *SHAPE_NAMES)
    return [tokenizer.encode(f" {name}", add_special_tokens=False)[0] for name in names]


def train_writer(
    settings: StageSettings,
    seed: int,
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    measured_texts: int = 8,
) -> Any:
    """Train or resume the text model and return it. A batch holds batch_size blocks of 256."""
    torch.manual_seed(seed + 50)
    generator = np.random.default_rng([seed, 51])
    stage = Stage(settings, build_writer(tokenizer), generator, torch.device("cpu"), folder)

    weights = torch.ones(len(tokenizer))
    weights[_named_tokens(tokenizer)] = _NAME_WEIGHT

    @cache
    def corpus() -> tuple[torch.Tensor, torch.Tensor]:
        # Made when first needed: a stage that is already trained to the end needs none.
        numbers = build_corpus(_CORPUS_TEXTS, tokenizer, np.random.default_rng([seed, 52]))
        return numbers, (numbers == tokenizer.bos_token_id).nonzero().flatten()

    def loss_of_batch(network: Any) -> torch.Tensor:
        is_long = stage.step % _STEPS_PER_LONG_BATCH == _STEPS_PER_LONG_BATCH - 1
        length = CONTEXT_TOKENS if is_long else _SHORT_TOKENS
        count = max(1, settings.batch_size * _SHORT_TOKENS // length)
        numbers, starts = corpus()
        chosen = starts[torch.from_numpy(generator.integers(len(starts), size=count))]
        chosen = chosen.clamp(max=len(numbers) - length)
        batch = torch.stack([numbers[first : first + length] for first in chosen.tolist()])
        scores = network(input_ids=batch).logits[:, :-1].flatten(0, 1)
        wanted = batch[:, 1:].flatten()
        return torch.nn.functional.cross_entropy(scores, wanted, weight=weights)

    def measure(network: Any) -> str:
        figures = measure_writer(network, tokenizer, measured_texts, seed=1)
        return ", ".join(f"{name} {value}" for name, value in figures.items())

    return stage.run(loss_of_batch, measure)


def write_on(model: Any, tokenizer: PreTrainedTokenizerFast, prompt: str, tokens: int) -> str:
    """Return the likeliest continuation of a prompt, at most this many tokens."""
    start = [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
    numbers = torch.tensor([start])
    written = model.generate(
        input_ids=numbers,
        attention_mask=torch.ones_like(numbers),
        max_new_tokens=tokens,
        do_sample=False,
    )
    text = tokenizer.decode(written[0, numbers.shape[1] :], skip_special_tokens=True)
    return str(text)


@torch.no_grad()
def measure_writer(
    model: Any, tokenizer: PreTrainedTokenizerFast, count: int, seed: int
) -> dict[str, float]:
    """Return shares and loss over stories and questions about heroes that training never saw.

    "hero kept": of stories continued from their opening, those that name the hero's shape again
    and give that shape no other colour. "answered": questions for a colour answered with it.
    "loss": nats a token on whole held-out stories.
    """
    generator = np.random.default_rng([seed, 53])
    kept = 0
    for _ in range(count):
        hero = random_hero(generator, held_out=True)
        text = write_on(model, tokenizer, write_opening(hero, generator), 60)
        others = [f"{name} {hero.shape}" for name in COLOUR_NAMES if name != hero.colour]
        kept += hero.shape in text and not any(other in text for other in others)
    answers = [
        (write_on(model, tokenizer, prompt, 12), colour)
        for prompt, colour in open_questions(count, generator)
    ]
    losses = []
    for _ in range(count):
        friend = random_hero(generator)
        story = write_story(random_hero(generator, held_out=True), friend, generator)
        numbers = tokenizer.encode(story, add_special_tokens=False)
        whole = torch.tensor([[tokenizer.bos_token_id, *numbers, tokenizer.eos_token_id]])
        losses.append(float(model(input_ids=whole, labels=whole).loss))
    answered = sum(_first_word_of(text, COLOUR_NAMES) == colour for text, colour in answers)
    return {
        "hero kept": round(kept / count, 4),
        "answered": round(answered / count, 4),
        "loss": round(float(np.mean(losses)), 4),
    }


def _first_word_of(text: str, words: tuple[str, ...]) -> str | None:
    """Return whichever of the words stands first in a text, None when none does."""
    there = [word for word in words if word in text]
    return min(there, key=text.index) if there else None
