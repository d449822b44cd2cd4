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
        Note(type="ti", value="baseline_mismatch", ref="wrong"),
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


def test_a_file_says_why_it_is_left_out(open_studio: Any, tmp_path: Path) -> None:
    save_lora(tmp_path / "for-xl.safetensors", 16)
    (tmp_path / "for-xl.json").write_text('{"baseline": "SDXL 1.0"}')
    save_file({"weights": torch.zeros(2)}, tmp_path / "no-lora.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not at all")
    studio = open_studio(loras_folder=tmp_path)
    names = ["for-xl", "no-lora", "broken"]
    (artifact,) = studio.draw(loras=[Adapter(name=name) for name in names])
    assert [note.value for note in artifact.notes] == [
        "baseline_mismatch",
        "parse_failed",
        "parse_failed",
    ]
    assert artifact.content == studio.content()


def test_a_trigger_is_put_into_the_prompt(open_studio: Any, tmp_path: Path) -> None:
    save_lora(tmp_path / "style.safetensors", 16)
    (tmp_path / "style.json").write_text('{"triggers": ["in the style", "inky"]}')
    studio = open_studio(loras_folder=tmp_path)
    plain, first, nearest, none = (
        studio.content(loras=[Adapter(name="style", trigger=trigger)])
        for trigger in (None, "any", "ink", "photograph")
    )
    assert plain == none
    assert len({plain, first, nearest}) == 3
    by_hand = studio.content(prompt="a red circle, inky", loras=[Adapter(name="style")])
    assert nearest == by_hand


def test_what_was_fetched_is_found_by_its_version(open_studio: Any, tmp_path: Path) -> None:
    (tmp_path / "loras").mkdir()
    save_lora(tmp_path / "loras" / "version-12.safetensors", 16)
    studio = open_studio(cache_folder=tmp_path)
    assert "lora" not in studio.capabilities.features
    (found,) = studio.draw(loras=[Adapter(name="12", is_version=True)])
    assert found.notes == []
    assert found.content != studio.content()
    (absent,) = studio.draw(loras=[Adapter(name="12")])
    assert absent.notes == [Note(type="lora", value="download_failed", ref="12")]
    fetching = open_studio(cache_folder=tmp_path, allow_lora_downloads=True)
    assert {"lora", "textual_inversion"} <= set(fetching.capabilities.features)


def test_an_embedding_is_found_where_the_prompt_names_it(open_studio: Any, tmp_path: Path) -> None:
    save_file({"emb_params": torch.ones(2, 16)}, tmp_path / "Red.safetensors")
    studio = open_studio(embeddings_folder=tmp_path)
    plain = studio.content(prompt="a red circle")
    named = studio.content(prompt="a red circle", embeddings=[Embedding(name="Red")])
    assert named != plain
    for prompt in ("a embedding:Red circle", "a embedding:red circle"):
        assert studio.content(prompt=prompt, embeddings=[Embedding(name="Red")]) == named
    unnamed = studio.content(prompt="a blue reddish circle", embeddings=[Embedding(name="Red")])
    assert unnamed == studio.content(prompt="a blue reddish circle")
    weak, strong = (
        studio.content(
            prompt="a", embeddings=[Embedding(name="Red", inject="prompt", strength=strength)]
        )
        for strength in (0.5, 1.5)
    )
    assert weak != strong


def test_an_embedding_for_xl_has_two_halves(open_studio: Any, tmp_path: Path) -> None:
    halves = {"clip_l": torch.ones(2, 16), "clip_g": torch.ones(2, 16)}
    save_file(halves, tmp_path / "both.safetensors")
    save_file({"emb_params": torch.ones(2, 16)}, tmp_path / "one.safetensors")
    studio = open_studio(embeddings_folder=tmp_path)
    plain = studio.content(model="tiny-xl")
    both, one = (Embedding(name=name, inject="prompt") for name in ("both", "one"))
    (artifact,) = studio.draw(model="tiny-xl", embeddings=[both])
    assert artifact.notes == []
    assert artifact.content != plain
    for model, unfit in (("tiny-xl", one), ("tiny", both)):
        (artifact,) = studio.draw(model=model, embeddings=[unfit])
        assert artifact.notes == [Note(type="ti", value="baseline_mismatch", ref=unfit.name)]
    assert studio.content(model="tiny-xl") == plain
