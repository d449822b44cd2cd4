# SPDX-License-Identifier: AGPL-3.0-or-later
"""LoRAs and textual inversions."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from openhorde.worker.backends.base import Adapter, Embedding, Note


def test_an_embedding_is_put_into_the_prompt(open_studio: Any, tmp_path: Path) -> None:
    save_file({"emb_params": torch.ones(2, 16)}, tmp_path / "my-style.safetensors")
    save_file({"emb_params": torch.ones(2, 3)}, tmp_path / "wrong.safetensors")
    studio = open_studio(embeddings_folder=tmp_path)
    assert "textual_inversion" in studio.capabilities.features
    plain = studio.content()
    (artifact,) = studio.draw(embeddings=[Embedding(name="my-style", inject="prompt")])
    assert artifact.notes == []
    assert artifact.content != plain
    absent = [Embedding(name="absent"), Embedding(name="../wrong"), Embedding(name="wrong")]
    (artifact,) = studio.draw(embeddings=absent)
    assert artifact.content == plain
    assert artifact.notes == [
        Note(type="ti", value="download_failed", ref="absent"),
        Note(type="ti", value="download_failed", ref="../wrong"),
        Note(type="ti", value="parse_failed", ref="wrong"),
    ]


def save_lora(path: Path, width: int) -> None:
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    generator = torch.Generator().manual_seed(1)
    weights = {
        f"{layer}.lora_A.weight": torch.randn(2, width, generator=generator),
        f"{layer}.lora_B.weight": torch.randn(8, 2, generator=generator) * 20,
    }
    save_file(weights, path)


def test_a_lora_that_is_not_here_is_told(studio: Any) -> None:
    (artifact,) = studio.draw(loras=[Adapter(name="absent")])
    assert artifact.notes == [Note(type="lora", value="download_failed", ref="absent")]
    assert artifact.content == studio.content()


def test_a_lora_changes_one_job_only(open_studio: Any, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    save_lora(tmp_path / "style.safetensors", 16)
    save_lora(tmp_path / "other.safetensors", 5)
    studio = open_studio(loras_folder=tmp_path)
    assert "lora" in studio.capabilities.features
    plain = studio.content()
    (strong,) = studio.draw(loras=[Adapter(name="style", model=1.0)])
    assert strong.notes == []
    (weak,) = studio.draw(loras=[Adapter(name="style", model=0.3)])
    assert len({plain, strong.content, weak.content}) == 3
    (mixed,) = studio.draw(loras=[Adapter(name="other"), Adapter(name="style", model=1.0)])
    assert mixed.notes == [Note(type="lora", value="baseline_mismatch", ref="other")]
    assert mixed.content == strong.content
    assert studio.content() == plain
