# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes the tokenizer of the demo model: CLIP's format with a vocabulary of our own words.

Each of our words is one token. Any other text still works: all single bytes are tokens too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

from openhorde.worker.demo.networks import TOKENS_PER_PROMPT

_WORD_END = "</w>"
_START = "<|startoftext|>"
_END = "<|endoftext|>"


def byte_symbols() -> list[str]:
    """Return the 256 printable characters that CLIP's tokenizer writes for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = []
    extra = 0
    for byte in range(256):
        if byte in printable:
            symbols.append(chr(byte))
        else:
            symbols.append(chr(256 + extra))
            extra += 1
    return symbols


def learn_merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return byte pair merges, the most frequent first, until every word is a single symbol."""
    spelled = [[*word[:-1], word[-1] + _WORD_END] for word in words]
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for symbols in spelled:
            pairs.update(pairwise(symbols))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_merge(symbols, best) for symbols in spelled]


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """Join every occurrence of a pair of neighbouring symbols."""
    merged: list[str] = []
    position = 0
    while position < len(symbols):
        if tuple(symbols[position : position + 2]) == pair:
            merged.append("".join(pair))
            position += 2
        else:
            merged.append(symbols[position])
            position += 1
    return merged


def write_tokenizer(folder: Path, words: Sequence[str]) -> CLIPTokenizer:
    """Write vocab.json, merges.txt and the rest into folder and return the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges(words)
    symbols = byte_symbols()
    names = [*symbols, *(symbol + _WORD_END for symbol in symbols)]
    names += list(dict.fromkeys("".join(pair) for pair in merges))
    names += [_START, _END]
    vocabulary = {name: index for index, name in enumerate(names)}
    vocabulary_path, merges_path = folder / "vocab.json", folder / "merges.txt"
    vocabulary_path.write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    merges_path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(
        vocab=str(vocabulary_path),
        merges=str(merges_path),
        bos_token=_START,
        eos_token=_END,
        unk_token=_END,
        pad_token=_END,
        model_max_length=TOKENS_PER_PROMPT,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer
