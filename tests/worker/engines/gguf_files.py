# SPDX-License-Identifier: AGPL-3.0-or-later
"""A folder of transformers with a small Llama, written as the one file that llama.cpp reads."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OTHER_TENSORS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def write_gguf(folder: Path, target: Path, name: str) -> Path:
    """Write a LlamaForCausalLM with a byte-level BPE tokeniser as GGUF; returns `target`."""
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_name(name)
    _write_sizes(writer, config)
    _write_tokeniser(writer, config["vocab_size"], folder)
    for source, tensor in load_file(folder / "model.safetensors").items():
        named = _tensor_name(source)
        values = tensor.astype(np.float32)
        if source.endswith(("q_proj.weight", "k_proj.weight")):
            key = source.endswith("k_proj.weight")
            values = _interleaved(values, _heads(config, key=key))
        writer.add_tensor(named, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _heads(config: dict[str, Any], *, key: bool = False) -> int:
    heads: int = config["num_attention_heads"]
    return int(config.get("num_key_value_heads") or heads) if key else heads


def _write_sizes(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    rope = config.get("rope_parameters") or config
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(_heads(config))
    writer.add_head_count_kv(_heads(config, key=True))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // _heads(config))
    writer.add_rope_freq_base(rope.get("rope_theta", 10000.0))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _write_tokeniser(writer: gguf.GGUFWriter, size: int, folder: Path) -> None:
    tokeniser = json.loads((folder / "tokenizer.json").read_text())
    special = json.loads((folder / "tokenizer_config.json").read_text())
    model = tokeniser["model"]
    assert model["type"] == "BPE"
    ids = dict(model["vocab"]) | {one["content"]: one["id"] for one in tokeniser["added_tokens"]}
    words = {index: f"[unused{index}]" for index in range(size)}
    kinds = dict.fromkeys(words, gguf.TokenType.UNUSED)
    words |= {index: word for word, index in ids.items()}
    kinds |= dict.fromkeys(ids.values(), gguf.TokenType.NORMAL)
    kinds |= {one["id"]: gguf.TokenType.CONTROL for one in tokeniser["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([words[index] for index in range(size)])
    writer.add_token_types([kinds[index] for index in range(size)])
    writer.add_token_merges(
        [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]
    )
    writer.add_bos_token_id(ids[_token(special["bos_token"])])
    writer.add_eos_token_id(ids[_token(special["eos_token"])])
    writer.add_add_bos_token(False)


def _token(told: str | dict[str, Any]) -> str:
    """A token as transformers writes it down: its text, or an object that has it."""
    return told if isinstance(told, str) else str(told["content"])


def _tensor_name(source: str) -> str:
    if source in OTHER_TENSORS:
        return OTHER_TENSORS[source]
    _, _, number, rest = source.split(".", 3)
    return f"blk.{number}.{LAYER_TENSORS[rest.removesuffix('.weight')]}.weight"


def _interleaved(weights: Any, heads: int) -> Any:
    """Rows in llama.cpp's order: it turns neighbouring numbers, transformers the two halves."""
    rows, columns = weights.shape
    halves = weights.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))
