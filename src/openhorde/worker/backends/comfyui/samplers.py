# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wire's samplers as ComfyUI's samplers and schedulers."""

import msgspec
from msgspec import Struct

COMMON = "k_euler"
"""Stands in for others, as every server has it."""


class Sampler(Struct, frozen=True):
    """A sampler's name, its scheduler, the one it has where Karras sigmas are asked for, and how
    it is only approximated, if it is."""

    name: str
    scheduler: str = "normal"
    karras: str = "karras"
    approximation: str | None = None


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


def usable_samplers(names: list[str], schedulers: list[str]) -> dict[str, Sampler]:
    """All of the wire's samplers, as a server with these can do them: one that it lacks is drawn
    with one that it has, and says so. As they are when it has none of them, for a workflow of the
    owner's may know better."""

    def there(sampler: Sampler) -> bool:
        return sampler.name in names and {sampler.scheduler, sampler.karras} <= set(schedulers)

    common = next((one for one in (SAMPLERS[COMMON], *SAMPLERS.values()) if there(one)), None)
    if common is None:
        return dict(SAMPLERS)
    substitute = msgspec.structs.replace(common, approximation=f"drawn with {common.name}")
    return {word: one if there(one) else substitute for word, one in SAMPLERS.items()}
