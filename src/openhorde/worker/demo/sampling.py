# SPDX-License-Identifier: AGPL-3.0-or-later
"""Draws latents with a denoiser, and knows the samplers that the figures are measured with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)

# Typed as Any because diffusers leaves these classes without types.
_ANCESTRAL: Any = EulerAncestralDiscreteScheduler
_EULER: Any = EulerDiscreteScheduler
_MULTISTEP: Any = DPMSolverMultistepScheduler
_IMPLICIT: Any = DDIMScheduler

# Every sampler is made from the pipeline's own scheduler, as the worker does.
SAMPLERS: dict[str, Callable[[Any], Any]] = {
    "k_euler_a": lambda base: _ANCESTRAL.from_config(base.config),
    "k_euler karras": lambda base: _EULER.from_config(base.config, use_karras_sigmas=True),
    "k_dpmpp_2m": lambda base: _MULTISTEP.from_config(base.config),
    "k_dpmpp_2m karras": lambda base: _MULTISTEP.from_config(base.config, use_karras_sigmas=True),
    "ddim": lambda base: _IMPLICIT.from_config(base.config),
}


@torch.no_grad()
def sample_latents(
    denoiser: Any,
    scheduler: Any,
    states: torch.Tensor,
    silent_states: torch.Tensor,
    start: torch.Tensor,
    step_count: int,
    guidance: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return latents [batch, 4, side, side] for hidden states [batch, tokens, width].

    silent_states [1, tokens, width] are those of an empty prompt; start is plain normal noise.
    """
    scheduler.set_timesteps(step_count)
    latents: torch.Tensor = start * scheduler.init_noise_sigma
    both = torch.cat([silent_states.expand_as(states), states])
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, timestep)
        predicted = denoiser(torch.cat([scaled, scaled]), timestep, both).sample
        silent, spoken = predicted.chunk(2)
        guided = silent + guidance * (spoken - silent)
        extra = {} if isinstance(scheduler, EulerDiscreteScheduler) else {"generator": generator}
        latents = scheduler.step(guided, timestep, latents, **extra).prev_sample
    return latents
