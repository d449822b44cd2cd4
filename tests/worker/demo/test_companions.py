# SPDX-License-Identifier: AGPL-3.0-or-later
"""The three little models: small, safe to load, and right about what training never showed them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)

from openhorde.worker.demo.companions import captioning, ranking, stories, train, writing
from openhorde.worker.demo.companions.evaluate import main as evaluate
from openhorde.worker.demo.companions.pictures import (
    drawn,
    held_out_diffused,
    held_out_drawings,
    spoil,
)
from openhorde.worker.demo.judge import judge
from openhorde.worker.demo.vocabulary import Attributes, is_held_out
from openhorde.worker.library.loading import load_beside, load_model
from openhorde.worker.library.shipped import shipped

# Diffusers' schedulers hand torch tensors to numpy in a way that numpy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LARGEST_BYTES = 12_000_000
ENOUGH = 0.9
_KINDS = {
    "caption": AutoModelForImageTextToText,
    "rank": AutoModel,
    "text": AutoModelForCausalLM,
}


def loaded(name: str) -> Any:
    return load_model(_KINDS[name], shipped(name), torch.device("cpu"))


def test_together_they_are_small_and_hold_nothing_that_runs() -> None:
    paths = [path for name in train.NAMES for path in shipped(name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in paths) <= LARGEST_BYTES
    assert {path.suffix for path in paths} <= {".safetensors", ".json", ".txt", ".md"}


@pytest.mark.parametrize("name", train.NAMES)
def test_each_has_weights_in_half_precision_figures_and_a_card(name: str) -> None:
    folder = shipped(name)
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        kinds = {weights.get_tensor(key).dtype for key in weights.keys()}  # noqa: SIM118
    assert kinds == {torch.float16}
    assert json.loads((folder / "figures.json").read_text())["rows"]
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "AGPL-3.0-or-later" in card
    assert "## Measured" in card


@pytest.mark.parametrize("name", train.NAMES)
def test_no_file_names_a_folder_of_the_machine_it_was_made_on(name: str) -> None:
    for path in (*shipped(name).rglob("*.json"), *shipped(name).rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        for sign in ("/tmp", "/home", "/work", "/root", "/Users"):
            assert sign not in text, f"{path.name} holds {sign}"


def test_captions_name_colour_and_shape_of_drawings_never_shown() -> None:
    processor = load_beside(AutoProcessor, shipped("caption"))
    shown = held_out_drawings(96, seed=11)
    assert all(is_held_out(one.attributes) for one in shown)
    captions = captioning.caption_all(loaded("caption"), processor, shown)
    shares = captioning.shares_named(captions, [one.attributes for one in shown])
    assert shares["together"] >= ENOUGH, shares
    assert shares["background"] >= ENOUGH, shares


def test_captions_name_what_the_diffusion_model_drew() -> None:
    processor = load_beside(AutoProcessor, shipped("caption"))
    shown = held_out_diffused(shipped("shapes"), 24, seed=12)
    assert len(shown) >= 20
    captions = captioning.caption_all(loaded("caption"), processor, shown)
    shares = captioning.shares_named(captions, [one.attributes for one in shown])
    assert shares["together"] >= ENOUGH, (captions, shown)


def test_colour_and_shape_rank_first() -> None:
    tokenizer = load_beside(AutoProcessor, shipped("rank")).tokenizer
    shares = ranking.shares_on_top(loaded("rank"), tokenizer, held_out_drawings(96, seed=13))
    assert min(shares.values()) >= ENOUGH, shares


def test_stories_keep_to_their_hero() -> None:
    tokenizer = load_beside(AutoTokenizer, shipped("text"))
    shares = writing.measure_writer(loaded("text"), tokenizer, 16, seed=15)
    assert shares["hero kept"] >= 0.8, shares
    assert shares["answered"] >= ENOUGH, shares


def test_the_text_model_is_a_plain_llama_that_reads_any_text() -> None:
    config = loaded("text").config
    assert config.model_type == "llama"
    assert config.max_position_embeddings == writing.CONTEXT_TOKENS
    tokenizer = load_beside(AutoTokenizer, shipped("text"))
    assert len(tokenizer) == config.vocab_size <= writing.VOCABULARY_SIZE_MAX
    text = "Ünïcode 日本語 🟥\n and  two spaces"
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


def test_held_out_heroes_are_in_no_story_of_the_training() -> None:
    generator = np.random.default_rng(0)
    texts = " ".join(stories.write_text(generator) for _ in range(300))
    for hero in stories.held_out_heroes():
        assert f"{hero.colour} {hero.shape}" not in texts


def test_a_spoiled_picture_still_shows_what_it_showed() -> None:
    generator = np.random.default_rng(4)
    shown = drawn(40, generator)
    same = [judge(spoil(one.picture, generator)).attributes == one.attributes for one in shown]
    assert np.mean(same) > 0.8


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("a red circle on a blue background", Attributes("red", "blue", "circle")),
        (
            "a large orange star on the left on an orange background",
            Attributes("orange", "orange", "star"),
        ),
        ("a circle", Attributes(shape="circle")),
        ("", Attributes()),
    ],
)
def test_what_a_caption_names_is_read(caption: str, named: Attributes) -> None:
    assert captioning.names_of(caption) == named


def test_a_tiny_training_ends_in_models_that_load_and_are_measured(tmp_path: Path) -> None:
    output = tmp_path / "models"
    budget = {
        "--text-steps": 1,
        "--text-batch-size": 1,
        "--eye-steps": 1,
        "--caption-steps": 1,
        "--rank-steps": 1,
        "--batch-size": 8,
        "--drawn-count": 16,
        "--diffused-count": 2,
        "--measured-count": 2,
        "--measured-texts": 1,
    }
    arguments = ["--output", str(output)]
    for option, value in budget.items():
        arguments += [option, str(value)]
    train.main(arguments)
    evaluate([str(output), "--count", "2"])
    for name in train.NAMES:
        figures = json.loads((output / name / "figures.json").read_text())
        assert figures["weights_bytes"] > 0
        assert "%" in (output / name / "MODEL_CARD.md").read_text()
    # Trained to the end already: a second call only loads the checkpoints and writes the same.
    weights = (output / "rank" / "model.safetensors").read_bytes()
    train.main([*arguments, "--only", "rank"])
    assert (output / "rank" / "model.safetensors").read_bytes() == weights
