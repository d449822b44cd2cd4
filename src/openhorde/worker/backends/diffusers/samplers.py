# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wire's samplers as diffusers schedulers."""

import inspect
from typing import Any

import diffusers
from msgspec import Struct, field

SINGLESTEP = "DPMSolverSinglestepScheduler"


class Sampler(Struct, frozen=True):
    """A scheduler class, what to set on it, how the sampler is only approximated, if it is, and the
    fewest steps that it can be told."""

    scheduler: str
    settings: dict[str, Any] = field(default_factory=dict)
    approximation: str | None = None
    steps_min: int = 1


SAMPLERS = {
    "k_lms": Sampler("LMSDiscreteScheduler"),
    "k_heun": Sampler("HeunDiscreteScheduler"),
    "k_euler": Sampler("EulerDiscreteScheduler"),
    "k_euler_a": Sampler("EulerAncestralDiscreteScheduler"),
    "k_dpm_2": Sampler("KDPM2DiscreteScheduler"),
    # In two steps its noise comes to the root of a negative number.
    "k_dpm_2_a": Sampler("KDPM2AncestralDiscreteScheduler", steps_min=3),
    "k_dpm_fast": Sampler(SINGLESTEP, {"solver_order": 3}, "drawn with singlestep DPM-Solver++"),
    "k_dpm_adaptive": Sampler(
        SINGLESTEP, {"solver_order": 3}, "drawn with singlestep DPM-Solver++ in the steps asked for"
    ),
    "k_dpmpp_2s_a": Sampler(
        SINGLESTEP,
        {"solver_order": 2, "algorithm_type": "sde-dpmsolver++"},
        "drawn with singlestep SDE-DPM-Solver++",
    ),
    "k_dpmpp_2m": Sampler("DPMSolverMultistepScheduler", {"solver_order": 2}),
    "dpmsolver": Sampler("DPMSolverMultistepScheduler", {"solver_order": 2}),
    "k_dpmpp_sde": Sampler("DPMSolverSDEScheduler"),
    "DDIM": Sampler("DDIMScheduler", {"clip_sample": False}),
    "lcm": Sampler("LCMScheduler", {"clip_sample": False}),
}
# These belong to one scheduler's way of working, not to how the model was trained.
DISTILLED_STEPS = "original_inference_steps"
"""Of how many steps a distilled model skips most; a drawing cannot have more steps than that."""
OWN_SETTINGS = (
    "algorithm_type",
    "solver_order",
    "timestep_spacing",
    "use_karras_sigmas",
    DISTILLED_STEPS,
)


def make_scheduler(
    config: dict[str, Any], name: str, karras: bool, seeds: list[int], steps: int
) -> Any:
    """A fresh scheduler for one job. `config` is that of the model's own scheduler.

    Karras sigmas are used where the scheduler knows them. Raises KeyError for an unknown sampler.
    """
    sampler = SAMPLERS[name]
    kind = getattr(diffusers, sampler.scheduler)
    known = inspect.signature(kind.__init__).parameters
    settings = dict(sampler.settings)
    if "use_karras_sigmas" in known:
        settings["use_karras_sigmas"] = karras
    if "noise_sampler_seed" in known:
        settings["noise_sampler_seed"] = seeds
    if DISTILLED_STEPS in known:
        settings[DISTILLED_STEPS] = max(steps, known[DISTILLED_STEPS].default)
    trained = {key: value for key, value in config.items() if key not in OWN_SETTINGS}
    shared = {key: value for key, value in trained.items() if key in known}
    return kind.from_config(shared | settings)
