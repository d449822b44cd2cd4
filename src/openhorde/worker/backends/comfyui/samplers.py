# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wire's samplers as ComfyUI's samplers and schedulers."""

from msgspec import Struct


class Sampler(Struct, frozen=True):
    """A sampler's name, its scheduler, and the one it has where Karras sigmas are asked for."""

    name: str
    scheduler: str = "normal"
    karras: str = "karras"


SAMPLERS = {
    "k_lms": Sampler("lms"),
    "k_heun": Sampler("heun"),
    "k_euler": Sampler("euler"),
    "k_euler_a": Sampler("euler_ancestral"),
    "k_dpm_2": Sampler("dpm_2"),
    "k_dpm_2_a": Sampler("dpm_2_ancestral"),
    "k_dpm_fast": Sampler("dpm_fast"),
    "k_dpm_adaptive": Sampler("dpm_adaptive"),
    "k_dpmpp_2s_a": Sampler("dpmpp_2s_ancestral"),
    "k_dpmpp_2m": Sampler("dpmpp_2m"),
    "dpmsolver": Sampler("dpmpp_2m"),
    "k_dpmpp_sde": Sampler("dpmpp_sde"),
    "DDIM": Sampler("ddim", "ddim_uniform", "ddim_uniform"),
    "lcm": Sampler("lcm", "sgm_uniform", "sgm_uniform"),
}


def known_samplers(names: list[str], schedulers: list[str]) -> list[str]:
    """The wire's samplers that a server with these can do."""
    return [
        word
        for word, sampler in SAMPLERS.items()
        if sampler.name in names and {sampler.scheduler, sampler.karras} <= set(schedulers)
    ]
