# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models on disk: folders and single files; what is found, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from openhorde.worker.backends.diffusers.catalogue import find_models


def test_models_are_found_by_name(models_folder: Path, tmp_path: Path) -> None:
    names = [card.name for card in find_models(models_folder, [])]
    assert names == ["careful", "small only", "tiny", "tiny-xl"]
    (card,) = find_models(models_folder / "small-only", ["small only"])
    assert (card.native_side_pixels, card.baseline) == (64, "stable diffusion 1")
    with pytest.raises(RuntimeError, match="there is: careful, small only, tiny, tiny-xl"):
        find_models(models_folder, ["absent"])
    with pytest.raises(RuntimeError, match="holds no"):
        find_models(tmp_path, [])
    (tmp_path / "broken.safetensors").write_bytes(b"not at all")
    with pytest.raises(RuntimeError, match="broken"):
        find_models(tmp_path, [])


def test_a_pickled_model_is_refused(open_studio: Any, models_folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "pickled"
    shutil.copytree(models_folder / "tiny", model)
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), model / "unet" / "diffusion_pytorch_model.bin")
    weights.unlink()
    for name in ("a.ckpt", "b.pt", "c.bin"):
        (tmp_path / name).write_bytes(b"pickle")
    assert [card.name for card in find_models(tmp_path, [])] == ["pickled"]
    with pytest.raises(RuntimeError, match="safetensors"):
        open_studio(tmp_path)
    shutil.copytree(models_folder / "tiny", tmp_path / "well")
    assert open_studio(tmp_path).capabilities.models == ["well"]


UNET_NAMES = [
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("conv_in", "input_blocks.0.0"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
    ("mid_block.resnets.0", "middle_block.0"),
    ("mid_block.attentions.0", "middle_block.1"),
    ("mid_block.resnets.1", "middle_block.2"),
    ("down_blocks.0.resnets.0", "input_blocks.1.0"),
    ("down_blocks.0.attentions.0", "input_blocks.1.1"),
    ("down_blocks.0.downsamplers.0.conv", "input_blocks.2.0.op"),
    ("down_blocks.1.resnets.0", "input_blocks.3.0"),
    ("up_blocks.0.resnets.0", "output_blocks.0.0"),
    ("up_blocks.0.resnets.1", "output_blocks.1.0"),
    ("up_blocks.0.upsamplers.0.conv", "output_blocks.1.1.conv"),
    ("up_blocks.1.resnets.0", "output_blocks.2.0"),
    ("up_blocks.1.attentions.0", "output_blocks.2.1"),
    ("up_blocks.1.resnets.1", "output_blocks.3.0"),
    ("up_blocks.1.attentions.1", "output_blocks.3.1"),
]
UNET_LAYERS = [
    (".norm1.", ".in_layers.0."),
    (".conv1.", ".in_layers.2."),
    (".time_emb_proj.", ".emb_layers.1."),
    (".norm2.", ".out_layers.0."),
    (".conv2.", ".out_layers.3."),
    (".conv_shortcut.", ".skip_connection."),
]
VAE_NAMES = [
    ("mid_block.resnets.0", "mid.block_1"),
    ("mid_block.resnets.1", "mid.block_2"),
    ("mid_block.attentions.0", "mid.attn_1"),
    ("conv_norm_out", "norm_out"),
    ("conv_shortcut", "nin_shortcut"),
    ("attn_1.group_norm", "attn_1.norm"),
    ("attn_1.to_q", "attn_1.q"),
    ("attn_1.to_k", "attn_1.k"),
    ("attn_1.to_v", "attn_1.v"),
    ("attn_1.to_out.0", "attn_1.proj_out"),
]


def original_checkpoint(model: Path) -> dict[str, Any]:
    """The tiny model as the single file that trainers write: the old names, everything in one."""
    weights = {}
    for name, tensor in load_file(model / "unet/diffusion_pytorch_model.safetensors").items():
        for ours, theirs in UNET_NAMES:
            if name.startswith(ours + "."):
                name = name.replace(ours, theirs, 1)
                break
        if "transformer_blocks" not in name:
            for ours, theirs in UNET_LAYERS:
                name = name.replace(ours, theirs)
        weights[f"model.diffusion_model.{name}"] = tensor
    for name, tensor in load_file(model / "vae/diffusion_pytorch_model.safetensors").items():
        for ours, theirs in VAE_NAMES:
            name = name.replace(ours, theirs)
        for block in range(4):
            name = name.replace(f"down_blocks.{block}.resnets", f"down.{block}.block")
            name = name.replace(f"down_blocks.{block}.downsamplers.0", f"down.{block}.downsample")
            name = name.replace(f"up_blocks.{block}.resnets", f"up.{3 - block}.block")
            name = name.replace(f"up_blocks.{block}.upsamplers.0", f"up.{3 - block}.upsample")
        flat = "attn_1" in name and tensor.ndim == 2
        weights[f"first_stage_model.{name}"] = tensor[..., None, None] if flat else tensor
    for name, tensor in load_file(model / "text_encoder/model.safetensors").items():
        inner = name.removeprefix("text_model.")
        weights[f"cond_stage_model.transformer.text_model.{inner}"] = tensor
    return weights


def test_a_single_file_draws_what_its_folder_draws(
    studio: Any, open_studio: Any, models_folder: Path, tmp_path: Path
) -> None:
    weights = original_checkpoint(models_folder / "tiny")
    save_file({name: one.contiguous() for name, one in weights.items()}, tmp_path / "a.safetensors")
    (tmp_path / "a.json").write_text('{"name": "in one file"}')
    leave = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(models_folder / "tiny", tmp_path / "a.config", ignore=leave)
    single = open_studio(tmp_path)
    assert single.content(model="in one file") == studio.content()
