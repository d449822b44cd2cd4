# SPDX-License-Identifier: AGPL-3.0-or-later
"""All stages of the training run on a tiny budget, resume, and end in a pipeline that loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from openhorde.worker.demo.evaluate import Settings as SamplingSettings
from openhorde.worker.demo.evaluate import evaluate, load_pipeline
from openhorde.worker.demo.stages import AveragedWeights, Stage, StageSettings, learning_rate_share
from openhorde.worker.demo.train import main

# Diffusers' schedulers hand torch tensors to numpy in a way that numpy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TINY_BUDGET = {
    "--text-steps": 2,
    "--autoencoder-steps": 2,
    "--decoder-steps": 2,
    "--denoiser-steps": 2,
    "--text-batch-size": 4,
    "--denoiser-batch-size": 4,
    "--autoencoder-batch-size": 2,
    "--pool-size": 8,
    "--measured-prompts": 2,
}


def _arguments(output: Path) -> list[str]:
    arguments = ["--output", str(output)]
    for option, value in TINY_BUDGET.items():
        arguments += [option, str(value)]
    return arguments


def test_a_tiny_training_ends_in_a_pipeline_that_makes_pictures(tmp_path: Path) -> None:
    output = tmp_path / "model"
    main(_arguments(output))
    about = json.loads((output / "openhorde.json").read_text(encoding="utf-8"))
    assert about["native_side_pixels"] == 64
    pipeline = load_pipeline(output)
    result = pipeline("a red circle", num_inference_steps=2, output_type="np")
    assert result.images.shape == (1, 64, 64, 3)
    assert bool(np.isfinite(result.images).all())
    figures = evaluate(output, tmp_path / "figures", 2, (SamplingSettings("ddim", 2, 2.0),))
    assert figures["rows"][0]["prompt_count"] == 2
    assert (tmp_path / "figures" / "contact_sheet.png").exists()
    # Trained to the end already: a second call only loads the checkpoints and writes the same.
    weights = (output / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    main(_arguments(output))
    assert (output / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == weights


def _toy_stage(folder: Path, step_count: int) -> Stage:
    torch.manual_seed(0)
    return Stage(
        StageSettings("toy", step_count, 4, 0.01, steps_per_checkpoint=3),
        torch.nn.Linear(3, 1),
        np.random.default_rng(0),
        torch.device("cpu"),
        folder,
    )


def _run_toy(stage: Stage, stop_at_step: int | None = None) -> torch.Tensor:
    def loss_of_batch(network: torch.nn.Module) -> torch.Tensor:
        if stage.step == stop_at_step:
            raise KeyboardInterrupt
        inputs = torch.from_numpy(stage.generator.normal(size=(4, 3))).float() + torch.randn(1)
        loss: torch.Tensor = network(inputs).square().mean()
        return loss

    network = stage.run(loss_of_batch)
    weight: torch.Tensor = network.weight
    return weight


def test_an_interrupted_stage_resumes_to_the_same_weights(tmp_path: Path) -> None:
    whole = _run_toy(_toy_stage(tmp_path / "whole", 8))
    with pytest.raises(KeyboardInterrupt):
        _run_toy(_toy_stage(tmp_path / "cut", 8), stop_at_step=5)
    resumed = _toy_stage(tmp_path / "cut", 8)
    assert torch.equal(whole, _run_toy(resumed))


def test_the_learning_rate_warms_up_stays_and_falls() -> None:
    assert learning_rate_share(0, 1000) < 0.01
    assert learning_rate_share(500, 1000) == 1.0
    assert learning_rate_share(800, 1000) == pytest.approx(0.5)
    assert learning_rate_share(1000, 1000) == 0.0


def test_averaged_weights_follow_slowly() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    average = AveragedWeights(network, 0.9)
    torch.nn.init.ones_(network.weight)
    average.update(network, step=1000)
    assert float(average.network.weight) == pytest.approx(0.1)
