# SPDX-License-Identifier: AGPL-3.0-or-later
"""A tiny Llama that knows nothing, with a byte-level BPE of its own: for engines to serve."""

from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers

TEXT = ["a red circle on a blue background", "a green square on a white background"] * 8
CONTEXT_TOKENS = 32768
VOCABULARY = 300


def make_text_model(folder: Path) -> Path:
    """Write it as transformers does; the same each time. Returns the folder."""
    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXT, VOCABULARY, min_frequency=2, special_tokens=["<s>", "</s>"])
    kind: Any = transformers.PreTrainedTokenizerFast
    tokeniser = kind(tokenizer_object=bpe._tokenizer, bos_token="<s>", eos_token="</s>")
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        bos_token_id=0,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    model.generation_config.do_sample = True
    # It writes until it is stopped, so that a text is never over before a test has looked: nothing
    # tells the token for the end from the one for the beginning.
    model.generation_config.eos_token_id = None
    with torch.no_grad():
        for weights in (model.lm_head.weight, model.model.embed_tokens.weight):
            weights[1] = weights[0]
    model.save_pretrained(folder)
    tokeniser.save_pretrained(folder)
    return folder
