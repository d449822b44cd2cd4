# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trains the denoiser: noisy latents and a text code to clean latents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CLIPTokenizer

from openhorde.worker.demo.captions import random_caption
from openhorde.worker.demo.drawings import draw, random_attributes
from openhorde.worker.demo.judge import agrees, judge
from openhorde.worker.demo.networks import (
    LATENT_CHANNELS,
    LATENT_SIDE,
    TRAINING_TIMESTEPS,
    build_denoiser,
    build_scheduler,
)
from openhorde.worker.demo.prompts import held_out_prompts
from openhorde.worker.demo.sampling import SAMPLERS, sample_latents
from openhorde.worker.demo.stage_autoencoder import pictures_to_tensor, tensor_to_pictures
from openhorde.worker.demo.stage_text import tokenize
from openhorde.worker.demo.stages import Stage, StageSettings

_ENCODED_AT_ONCE = 128


@dataclass(frozen=True)
class Pool:
    """Drawings and captions that the frozen networks have read once, to be used many times.

    latents [count, 4, 16, 16] are the means of the posteriors, scaled to a spread of one: their
    own noise carries nothing, so the denoiser need not learn it. states [count, 77, TEXT_WIDTH]
    are in half precision.
    """

    latents: torch.Tensor
    states: torch.Tensor


@torch.no_grad()
def build_pool(
    count: int,
    generator: np.random.Generator,
    autoencoder: Any,
    text_encoder: Any,
    tokenizer: CLIPTokenizer,
    device: torch.device,
) -> Pool:
    """Draw and caption count training pictures and encode them."""
    latents, states = [], []
    scale = autoencoder.config.scaling_factor
    for first in range(0, count, _ENCODED_AT_ONCE):
        size = min(_ENCODED_AT_ONCE, count - first)
        shown = [random_attributes(generator) for _ in range(size)]
        pictures = np.stack([draw(one, generator) for one in shown])
        posterior = autoencoder.encode(pictures_to_tensor(pictures, device)).latent_dist
        latents.append(posterior.mean * scale)
        captions = [random_caption(one, generator)[0] for one in shown]
        numbers, _ = tokenize(tokenizer, captions, device)
        states.append(text_encoder(numbers).last_hidden_state.half())
    return Pool(torch.cat(latents), torch.cat(states))


def _velocity_loss(
    network: Any, pool: Pool, rows: torch.Tensor, alphas_kept: torch.Tensor
) -> torch.Tensor:
    """Return the mean squared error of the predicted velocity on these rows of the pool."""
    clean = pool.latents[rows]
    noise = torch.randn_like(clean)
    # One timestep from each equal part of the schedule keeps the loss of a batch steady.
    count = len(rows)
    parts = torch.arange(count, device=clean.device) + torch.rand(count, device=clean.device)
    timesteps = (parts * (TRAINING_TIMESTEPS / count)).long().clamp(max=TRAINING_TIMESTEPS - 1)
    signal = alphas_kept[timesteps].sqrt()[:, None, None, None]
    spread = (1 - alphas_kept[timesteps]).sqrt()[:, None, None, None]
    noisy = signal * clean + spread * noise
    velocity = signal * noise - spread * clean
    predicted = network(noisy, timesteps, pool.states[rows].float()).sample
    return torch.nn.functional.mse_loss(predicted, velocity)


@torch.no_grad()
def measure_agreement(
    denoiser: Any,
    autoencoder: Any,
    text_encoder: Any,
    tokenizer: CLIPTokenizer,
    device: torch.device,
    prompt_count: int,
) -> str:
    """Sample held-out prompts and return a line with the shares that the judge agrees with."""
    prompts = held_out_prompts(prompt_count, seed=1)
    texts = [prompt.text for prompt in prompts]
    numbers, _ = tokenize(tokenizer, [*texts, ""], device)
    states = text_encoder(numbers).last_hidden_state
    generator = torch.Generator().manual_seed(1)
    shape = (prompt_count, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)
    start = torch.randn(shape, generator=generator).to(device)
    latents = sample_latents(
        denoiser,
        SAMPLERS["k_euler_a"](build_scheduler()),
        states[:-1],
        states[-1:],
        start,
        20,
        5.0,
        generator,
    )
    pictures = tensor_to_pictures(
        autoencoder.decode(latents / autoencoder.config.scaling_factor).sample
    )
    seen = [judge(picture).attributes for picture in pictures]
    shares = []
    for names in (("colour",), ("background",), ("place",), ("size",), ("shape",)):
        right = [agrees(p.wanted, s, names) for p, s in zip(prompts, seen, strict=True)]
        shares.append(f"{names[0]} {np.mean(right):.2f}")
    main = ("colour", "background", "place")
    together = [agrees(p.wanted, s, main) for p, s in zip(prompts, seen, strict=True)]
    return f"together {np.mean(together):.2f} ({', '.join(shares)})"


def train_denoiser(
    settings: StageSettings,
    seed: int,
    device: torch.device,
    folder: Path,
    autoencoder: Any,
    text_encoder: Any,
    tokenizer: CLIPTokenizer,
    pool_size: int,
    measured_prompts: int = 63,
) -> Any:
    """Train or resume the denoiser and return it."""

    @cache
    def pool() -> Pool:
        # Made when first needed: a stage that is already trained to the end needs none.
        pool_generator = np.random.default_rng([seed, 3])
        return build_pool(pool_size, pool_generator, autoencoder, text_encoder, tokenizer, device)

    torch.manual_seed(seed + 2)
    generator = np.random.default_rng([seed, 4])
    network = build_denoiser().to(memory_format=torch.channels_last)
    stage = Stage(settings, network, generator, device, folder)
    alphas_kept = build_scheduler().alphas_cumprod.to(device)

    def loss_of_batch(network: Any) -> torch.Tensor:
        rows = torch.from_numpy(generator.integers(pool_size, size=settings.batch_size))
        return _velocity_loss(network, pool(), rows.to(device), alphas_kept)

    def measure(network: Any) -> str:
        return measure_agreement(
            network, autoencoder, text_encoder, tokenizer, device, measured_prompts
        )

    return stage.run(loss_of_batch, measure)
