# SPDX-License-Identifier: AGPL-3.0-or-later
"""Prompts as embeddings: weighted words, long ones in chunks, and clip skip.

Done here because diffusers cuts prompts after 77 tokens and knows no weights, and its own
`clip_skip` does not work with transformers 5.
"""

from typing import Any

import torch
from msgspec import Struct

from openhorde.worker.backends.diffusers.weights import parse

CHUNKS_MAX = 8


class Conditioning(Struct):
    """Embeddings of shape (1, tokens, width); `pooled` ones, of (1, width), only for XL."""

    prompt: torch.Tensor
    negative: torch.Tensor | None
    pooled: torch.Tensor | None = None
    negative_pooled: torch.Tensor | None = None

    def arguments(self) -> dict[str, torch.Tensor]:
        """As a pipeline takes them."""
        named = {
            "prompt_embeds": self.prompt,
            "negative_prompt_embeds": self.negative,
            "pooled_prompt_embeds": self.pooled,
            "negative_pooled_prompt_embeds": self.negative_pooled,
        }
        return {name: tensor for name, tensor in named.items() if tensor is not None}


@torch.inference_mode()
def condition(
    pipeline: Any, prompt: str, negative: str, clip_skip: int, guided: bool
) -> Conditioning:
    """Embed the prompts. `clip_skip` 1 is the text encoder's last layer, 2 the one before it."""
    encoders = [(pipeline.tokenizer, pipeline.text_encoder)]
    second = getattr(pipeline, "text_encoder_2", None)
    is_xl = hasattr(pipeline, "tokenizer_2")
    if is_xl:
        encoders.append((pipeline.tokenizer_2, second))
    texts = [prompt, negative] if guided else [prompt]
    parts = []
    pooled: list[torch.Tensor | None] = [None, None]
    for tokenizer, encoder in encoders:
        if encoder is None:  # a refiner has the second one only
            continue
        chunks = [_chunks(pipeline, tokenizer, encoder, text) for text in texts]
        count = max(map(len, chunks))
        empty = _chunks(pipeline, tokenizer, encoder, "")
        layer = clip_skip + 1 if is_xl else clip_skip
        encoded = []
        for index, own in enumerate(chunks):
            filled = own + empty * (count - len(own))
            hidden, pools = _encode_weighted(encoder, filled, empty[0], layer, normed=not is_xl)
            encoded.append(hidden.reshape(1, -1, hidden.shape[-1]))
            pooled[index] = pools[:1] if pools is not None else None
        parts.append(encoded)
    embedded = [torch.cat(sides, dim=-1) for sides in zip(*parts, strict=True)]
    if not is_xl:
        return Conditioning(embedded[0], embedded[1] if guided else None)
    if guided and not negative and pipeline.config.force_zeros_for_empty_prompt:
        embedded[1] = torch.zeros_like(embedded[1])
        pooled[1] = torch.zeros_like(pooled[1]) if pooled[1] is not None else None
    return Conditioning(
        embedded[0], embedded[1] if guided else None, pooled[0], pooled[1] if guided else None
    )


class _Chunk(Struct):
    """Token ids as the encoder takes them, and the weight of each."""

    ids: list[int]
    weights: list[float]


def _chunks(pipeline: Any, tokenizer: Any, encoder: Any, text: str) -> list[_Chunk]:
    """As many chunks as the text needs, at least one."""
    length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    # What the tokenizer puts around no words at all belongs around every chunk.
    around = tokenizer("").input_ids
    first, last = around[0], around[-1]
    ids: list[int] = []
    weights: list[float] = []
    for piece in parse(text):
        words = pipeline.maybe_convert_prompt(piece.text, tokenizer)
        own = tokenizer(words, add_special_tokens=False).input_ids
        ids += own
        weights += [piece.weight] * len(own)
    room = length - 2
    chunks = []
    for start in range(0, max(1, len(ids)), room)[:CHUNKS_MAX]:
        own = ids[start : start + room]
        left = [_pad(tokenizer)] * (room - len(own))
        shares = weights[start : start + room]
        chunks.append(_Chunk([first, *own, last, *left], [1.0, *shares, 1.0, *[1.0] * len(left)]))
    return chunks


def _pad(tokenizer: Any) -> int:
    return int(tokenizer.pad_token_id or 0)


def _encode_weighted(
    encoder: Any, chunks: list[_Chunk], empty: _Chunk, layer: int, *, normed: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As `_encode`; a weighted word lies so much farther from where it would say nothing."""
    tokens = torch.tensor([chunk.ids for chunk in chunks])
    hidden, pools = _encode(encoder, tokens, layer, normed=normed)
    weights = torch.tensor([chunk.weights for chunk in chunks])
    if bool((weights != 1).any()):
        nothing, _ = _encode(encoder, torch.tensor([empty.ids]), layer, normed=normed)
        share = weights[..., None].to(hidden)
        # A plain word stays as it is, to the last bit.
        hidden = torch.where(share == 1, hidden, nothing + (hidden - nothing) * share)
    return hidden, pools


def _encode(
    encoder: Any, tokens: torch.Tensor, layer: int, *, normed: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Hidden states (chunks, length, width) of the layer counted from the end; pooled if any."""
    said = encoder(tokens.to(encoder.device), output_hidden_states=True)
    states = said.hidden_states
    hidden = states[-min(layer, len(states))]
    if normed:
        hidden = getattr(encoder, "text_model", encoder).final_layer_norm(hidden)
    return hidden, getattr(said, "text_embeds", None)
