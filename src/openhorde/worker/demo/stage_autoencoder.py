# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trains the autoencoder: 64x64 drawings to 16x16 latents and back.

It has two stages. The first trains both halves. The second keeps the encoder as it is, so the
latents stay what they are, and trains the decoder alone for clean edges and flat areas.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from openhorde.worker.demo.drawings import draw, random_attributes
from openhorde.worker.demo.networks import build_autoencoder
from openhorde.worker.demo.stages import Stage, StageSettings

# The pull of the latents towards a unit normal. It leaves each latent a little noise, so the
# decoder learns to bring a latent that is slightly off back to a clean drawing.
_DIVERGENCE_WEIGHT = 1e-3
_EDGE_WEIGHT = 0.5
_MEASURED_DRAWINGS = 512
_SILENT_LOG_VARIANCE = -20.0


def pictures_to_tensor(pictures: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Turn pictures [batch, side, side, 3] in 0..255 into [batch, 3, side, side] in -1..1."""
    channels_first = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    return (channels_first.to(device).float() / 127.5 - 1.0).contiguous()


def tensor_to_pictures(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """Turn [batch, 3, side, side] in -1..1 into pictures [batch, side, side, 3] in 0..255."""
    scaled = ((tensor.float().clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8)
    pictures: NDArray[np.uint8] = scaled.permute(0, 2, 3, 1).cpu().numpy()
    return pictures


def random_pictures(count: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Draw training pictures [count, side, side, 3]."""
    return np.stack([draw(random_attributes(generator), generator) for _ in range(count)])


def _edges(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the differences between neighbours across and down."""
    return pictures[..., :, 1:] - pictures[..., :, :-1], pictures[..., 1:, :] - pictures[
        ..., :-1, :
    ]


def _difference_loss(
    rebuilt: torch.Tensor, pictures: torch.Tensor, squared_weight: float
) -> torch.Tensor:
    """Return how far rebuilt pictures are off, with extra weight on their edges."""
    difference = rebuilt - pictures
    loss = difference.abs().mean() + squared_weight * difference.square().mean()
    for rebuilt_edges, true_edges in zip(_edges(rebuilt), _edges(pictures), strict=True):
        loss = loss + _EDGE_WEIGHT * (rebuilt_edges - true_edges).abs().mean()
    return loss


def train_autoencoder(
    settings: StageSettings, seed: int, device: torch.device, folder: Path
) -> Any:
    """Train or resume both halves and return the autoencoder with its scaling factor set."""
    torch.manual_seed(seed)
    generator = np.random.default_rng([seed, 1])
    stage = Stage(settings, build_autoencoder(), generator, device, folder)

    def loss_of_batch(network: Any) -> torch.Tensor:
        batch = random_pictures(settings.batch_size, generator)
        pictures = pictures_to_tensor(batch, device)
        posterior = network.encode(pictures).latent_dist
        rebuilt = network.decode(posterior.sample()).sample
        mean, log_variance = posterior.mean, posterior.logvar
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
        loss: torch.Tensor = _DIVERGENCE_WEIGHT * divergence
        return loss + _difference_loss(rebuilt, pictures, 1.0)

    network = stage.run(loss_of_batch, lambda network: _measure(network, device))
    network.register_to_config(scaling_factor=_scaling_factor(network, device))
    return network


@torch.no_grad()
def _scaling_factor(network: Any, device: torch.device) -> float:
    """Return what brings the latents of drawings to a spread of one."""
    pictures = random_pictures(_MEASURED_DRAWINGS, np.random.default_rng(0))
    latents = network.encode(pictures_to_tensor(pictures, device)).latent_dist.mean
    return round(1.0 / float(latents.std()), 6)


def train_decoder(
    settings: StageSettings, seed: int, device: torch.device, folder: Path, autoencoder: Any
) -> Any:
    """Train or resume the decoder of a trained autoencoder and return the whole autoencoder."""
    torch.manual_seed(seed + 3)
    generator = np.random.default_rng([seed, 5])
    network = copy.deepcopy(autoencoder).requires_grad_(True)
    for part in (network.encoder, network.quant_conv):
        part.requires_grad_(False)
    stage = Stage(settings, network, generator, device, folder)

    def loss_of_batch(network: Any) -> torch.Tensor:
        batch = random_pictures(settings.batch_size, generator)
        pictures = pictures_to_tensor(batch, device)
        with torch.no_grad():
            posterior = network.encode(pictures).latent_dist
            # From none to the full noise: a finished picture's latents lie in between.
            share = torch.rand(len(batch), 1, 1, 1, device=device)
            noise = share * posterior.std * torch.randn_like(posterior.std)
        rebuilt = network.decode(posterior.mean + noise).sample
        return _difference_loss(rebuilt, pictures, 0.0)

    return stage.run(loss_of_batch, lambda network: _measure(network, device))


@torch.no_grad()
def silence_encoder_noise(autoencoder: Any) -> None:
    """Make the encoder's latents exact, in place.

    Image-to-image pipelines start from a noisy latent of the given picture. The denoiser is
    trained on latents without that noise and would read it as part of the picture.
    """
    channels = autoencoder.config.latent_channels
    autoencoder.quant_conv.weight[channels:] = 0.0
    autoencoder.quant_conv.bias[channels:] = _SILENT_LOG_VARIANCE


@torch.no_grad()
def _measure(network: Any, device: torch.device) -> str:
    """Return a line on how exact the autoencoder is."""
    pictures = pictures_to_tensor(random_pictures(64, np.random.default_rng(0)), device)
    posterior = network.encode(pictures).latent_dist
    error = (network.decode(posterior.mean).sample.clamp(-1, 1) - pictures).abs() * 127.5
    return (
        f"mean error {float(error.mean()):.2f} of 255, latent spread "
        f"{float(posterior.mean.std()):.3f}, noise {float(posterior.std.mean()):.3f}"
    )
