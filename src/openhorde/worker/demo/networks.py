# SPDX-License-Identifier: AGPL-3.0-or-later
"""Builds the untrained networks of the demo model, in the layout of Stable Diffusion 1."""

from __future__ import annotations

from typing import Any

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from openhorde.worker.demo.vocabulary import SIDE_PIXELS

# Typed as Any because diffusers leaves these classes without types.
_AUTOENCODER: Any = AutoencoderKL
_DENOISER: Any = UNet2DConditionModel
_SCHEDULER: Any = DDIMScheduler

LATENT_CHANNELS = 4
# Pixels along one side of a latent.
LATENT_SCALE_PIXELS = 4
LATENT_SIDE = SIDE_PIXELS // LATENT_SCALE_PIXELS
TEXT_WIDTH = 128
TOKENS_PER_PROMPT = 77
TRAINING_TIMESTEPS = 1000


def build_autoencoder() -> Any:
    """Return an AutoencoderKL that takes [batch, 3, 64, 64] in -1..1 to [batch, 4, 16, 16]."""
    return _AUTOENCODER(
        sample_size=SIDE_PIXELS,
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> Any:
    """Return a CLIPTextModel for this tokenizer: [batch, 77] to [batch, 77, TEXT_WIDTH]."""
    configuration = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TOKENS_PER_PROMPT,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(configuration)


def build_denoiser() -> Any:
    """Return a UNet2DConditionModel on [batch, 4, 16, 16] that reads [batch, 77, TEXT_WIDTH]."""
    return _DENOISER(
        sample_size=LATENT_SIDE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(32, 64, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        # Despite its name, diffusers takes this as the number of heads.
        attention_head_dim=4,
        norm_num_groups=16,
    )


def build_scheduler() -> Any:
    """Return the noise schedule that the denoiser is trained on.

    The linear schedule ends in almost pure noise. The one of Stable Diffusion leaves the mean of
    the latent readable at the last step, which spoils flat backgrounds on latents this small.
    """
    return _SCHEDULER(
        num_train_timesteps=TRAINING_TIMESTEPS,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )
