# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trains the whole demo model from nothing and writes it as a diffusers pipeline folder.

Run it with: python -m openhorde.worker.demo.train --output FOLDER
It needs no data: it draws its own. Cut off, it goes on from its last checkpoints.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from rich.console import Console
from transformers import CLIPTokenizer

from openhorde.worker.demo.captions import known_words
from openhorde.worker.demo.networks import build_scheduler
from openhorde.worker.demo.stage_autoencoder import (
    silence_encoder_noise,
    train_autoencoder,
    train_decoder,
)
from openhorde.worker.demo.stage_denoiser import train_denoiser
from openhorde.worker.demo.stage_text import train_text_encoder
from openhorde.worker.demo.stages import StageSettings
from openhorde.worker.demo.tokens import write_tokenizer
from openhorde.worker.demo.vocabulary import SIDE_PIXELS

MODEL_NAME = "openhorde_shapes"
BASELINE = "stable diffusion 1"


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides what the trained model will be, but for the code itself."""

    seed: int = 0
    text_steps: int = 2600
    autoencoder_steps: int = 2600
    decoder_steps: int = 800
    denoiser_steps: int = 5400
    text_batch_size: int = 64
    autoencoder_batch_size: int = 16
    denoiser_batch_size: int = 32
    pool_size: int = 16000
    measured_prompts: int = 63


def write_pipeline(
    folder: Path,
    tokenizer: CLIPTokenizer,
    text_encoder: Any,
    autoencoder: Any,
    denoiser: Any,
) -> None:
    """Write the networks into folder as a half precision Stable Diffusion pipeline."""
    # Typed as Any because diffusers leaves this class without types.
    pipeline_class: Any = StableDiffusionPipeline
    pipeline = pipeline_class(
        vae=autoencoder.cpu(),
        text_encoder=text_encoder.cpu(),
        tokenizer=tokenizer,
        unet=denoiser.cpu(),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16, silence_dtype_warnings=True)
    pipeline.save_pretrained(folder, safe_serialization=True)
    about = {
        "native_side_pixels": SIDE_PIXELS,
        "name": MODEL_NAME,
        "baseline": BASELINE,
        "harmless": True,
    }
    (folder / "openhorde.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def train(plan: TrainingPlan, output: Path, checkpoints: Path, device: torch.device) -> None:
    """Run the four stages and write the pipeline to output."""
    console = Console()
    tokenizer = write_tokenizer(checkpoints / "tokenizer", known_words())
    console.print(f"tokenizer: {len(tokenizer)} tokens")
    text_encoder = train_text_encoder(
        StageSettings("text", plan.text_steps, plan.text_batch_size, 1.5e-3, 0.995),
        plan.seed,
        device,
        checkpoints,
        tokenizer,
    )
    autoencoder = train_autoencoder(
        StageSettings("autoencoder", plan.autoencoder_steps, plan.autoencoder_batch_size, 2e-3),
        plan.seed,
        device,
        checkpoints,
    )
    polished = train_decoder(
        StageSettings("decoder", plan.decoder_steps, plan.autoencoder_batch_size, 1e-3),
        plan.seed,
        device,
        checkpoints,
        autoencoder,
    )
    denoiser = train_denoiser(
        StageSettings("denoiser", plan.denoiser_steps, plan.denoiser_batch_size, 1e-3),
        plan.seed,
        device,
        checkpoints,
        polished,
        text_encoder,
        tokenizer,
        plan.pool_size,
        plan.measured_prompts,
    )
    silence_encoder_noise(polished)
    # A tokenizer that has been used keeps the padding of its last call, so a fresh one is written.
    tokenizer = write_tokenizer(checkpoints / "tokenizer", known_words())
    write_pipeline(output, tokenizer, text_encoder, polished, denoiser)
    shutil.copy(checkpoints / "tokenizer" / "vocab.json", output / "tokenizer")
    shutil.copy(checkpoints / "tokenizer" / "merges.txt", output / "tokenizer")
    console.print(f"wrote {output}")


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and train."""
    defaults = TrainingPlan()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the pipeline")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        help="folder for checkpoints; OUTPUT with -checkpoints appended when left out",
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, help="processor threads; torch decides if left out")
    for name, value in vars(defaults).items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=int, default=value, help=f"default {value}")
    chosen = parser.parse_args(arguments)
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    plan = TrainingPlan(**{name: getattr(chosen, name) for name in vars(defaults)})
    output: Path = chosen.output
    checkpoints: Path = chosen.checkpoints or output.with_name(output.name + "-checkpoints")
    train(plan, output, checkpoints, torch.device(chosen.device))


if __name__ == "__main__":
    main()
