# SPDX-License-Identifier: AGPL-3.0-or-later
"""Worker agents ("bridges"): what each version can do, and what that is worth (rules 4.7, 3.2).

Capabilities keep the names of the public table. They accumulate: an agent has what is listed for
every version up to its own.
"""

import re
from functools import lru_cache
from typing import Final

from msgspec import Struct

from openhorde.server.domain.needs import SAMPLERS

OWN_NAME: Final = "openhorde worker"
REGEN_NAME: Final = "AI Horde Worker reGen"
DREAMER_NAME: Final = "AI Horde Worker"

_NEWER_POST_PROCESSORS = (
    "4xNomos8kSC 4xLSDIRplus 4xNomosWebPhoto_RealPLKSR 4xNomos2_realplksr_dysample "
    "4xNomos2_hq_dat2 2xModernSpanimationV1 GFPGANv1.3 RestoreFormer"
)
INPAINTS_WITH_ANY_MODEL: Final = "inpaints_with_any_model"
CAPABILITIES: Final[dict[str, dict[int, str]]] = {
    OWN_NAME: {
        0: "r2 r2_source img2img inpainting karras clip_skip tiling hires_fix "
        f"textual_inversion lora lora_versions {INPAINTS_WITH_ANY_MODEL} post-processing "
        "controlnet image_is_control return_control_map GFPGAN RealESRGAN_x4plus "
        "strip_background RealESRGAN_x4plus_anime_6B NMKD_Siax 4x_AnimeSharp RealESRGAN_x2plus "
        f"{_NEWER_POST_PROCESSORS}",
    },
    REGEN_NAME: {
        1: "img2img inpainting karras post-processing GFPGAN RealESRGAN_x4plus r2 CodeFormers "
        "clip_skip r2_source controlnet strip_background return_control_map "
        "RealESRGAN_x4plus_anime_6B NMKD_Siax 4x_AnimeSharp image_is_control RealESRGAN_x2plus "
        "hires_fix tiling",
        2: "textual_inversion lora",
        3: "lora_versions",
        5: "extra_source_images",
        6: "stable_cascade_2pass",
        7: "qr_code extra_texts workflow",
        8: "layer_diffuse",
        9: "flux",
        13: _NEWER_POST_PROCESSORS,
    },
    DREAMER_NAME: {
        3: "img2img",
        4: "inpainting",
        6: "karras",
        7: "post-processing GFPGAN RealESRGAN_x4plus",
        8: "r2",
        9: "CodeFormers",
        13: "hires_fix clip_skip",
        14: "r2_source",
        15: "controlnet",
        18: "strip_background return_control_map RealESRGAN_x4plus_anime_6B",
        19: "NMKD_Siax 4x_AnimeSharp",
        21: "RealESRGAN_x2plus",
        22: "lora",
        23: "image_is_control",
        24: "textual_inversion",
    },
    "SD-WebUI Stable Horde Worker Bridge": {
        1: "inpainting karras r2 CodeFormers",
        2: "tiling",
        3: "r2_source",
        4: "clip_skip",
    },
    "HordeAutoWebBridge": {1: "painting img2img karras", 2: "tiling"},
}

_ALL = " ".join(SAMPLERS)
_K_FIRST = (
    "k_lms k_heun k_euler k_euler_a k_dpm_2 k_dpm_2_a k_dpm_fast k_dpm_adaptive k_dpmpp_2s_a "
    "k_dpmpp_2m"
)
KARRAS_SAMPLERS: Final[dict[str, dict[int, str]]] = {
    OWN_NAME: {0: _ALL},
    REGEN_NAME: {2: _ALL.replace(" lcm", ""), 3: "lcm"},
    DREAMER_NAME: {11: f"{_K_FIRST} dpmsolver", 12: "k_dpmpp_sde"},
    "SD-WebUI Stable Horde Worker Bridge": {1: f"{_K_FIRST} k_dpmpp_sde"},
    "HordeAutoWebBridge": {1: "k_lms k_dpm_2 k_dpm_2_a k_dpmpp_2s_a k_dpmpp_2m dpmsolver"},
}
PLAIN_SAMPLERS: Final[dict[str, dict[int, str]]] = {
    DREAMER_NAME: {17: "DDIM"},
    "SD-WebUI Stable Horde Worker Bridge": {1: "DDIM"},
    "HordeAutoWebBridge": {1: "k_heun k_euler k_euler_a k_dpm_fast k_dpm_adaptive DDIM"},
}
"""Samplers that the agent has only without Karras sigmas."""

VALIDATED: Final = frozenset(
    {
        "AI Horde Worker",
        "AI Horde Worker~aphrodite~oai",
        "AI Horde Worker~aphrodite~kai",
        "KoboldCppEmbedWorker",
        "TabbyAPI",
    }
)
"""Agents, with what runs behind them, that are known to do with a text what they are told."""

NEWEST_OFFICIAL: Final = {REGEN_NAME: 13, DREAMER_NAME: 24}
_UNKNOWN_SAMPLES_AS = (DREAMER_NAME, 23)
_VERSION = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(-[0-9A-Za-z.-]+)?(?:\+\S*)?")


class Agent(Struct, frozen=True):
    """A parsed bridge agent. `release` is the highest whole version whose features it has."""

    name: str
    release: int


class Capabilities(Struct, frozen=True):
    """What an agent can do. `samplers` work without Karras sigmas, `samplers_karras` with them."""

    words: frozenset[str]
    samplers: frozenset[str]
    samplers_karras: frozenset[str]


def parse(bridge_agent: str) -> Agent:
    """Splits `name:version:url`; a `~...` suffix of the name says what runs behind it and is cut.

    The version is major[.minor[.patch]][-pre][+build]; one that cannot be read makes the agent
    unknown. A pre-release of N.0.0 does not have the features of N yet.
    """
    name, _, rest = bridge_agent.partition(":")
    match = _VERSION.fullmatch(rest.partition(":")[0].strip())
    if match is None:
        return Agent("unknown", 0)
    major, minor, patch, pre_release = match.groups()
    is_early = pre_release is not None and int(minor or 0) == int(patch or 0) == 0
    return Agent(name.partition("~")[0].strip(), int(major) - is_early)


@lru_cache(maxsize=1024)
def capabilities(bridge_agent: str) -> Capabilities:
    """What the agent can do. An unknown one can do nothing special, but has common samplers."""
    agent = parse(bridge_agent)
    words = _up_to(CAPABILITIES, agent.name, agent.release)
    name, release = agent.name, agent.release
    if name not in KARRAS_SAMPLERS:
        name, release = _UNKNOWN_SAMPLES_AS
    karras = _up_to(KARRAS_SAMPLERS, name, release)
    return Capabilities(words, karras | _up_to(PLAIN_SAMPLERS, name, release), karras)


def bridge_multiplier(bridge_agent: str) -> float:
    """The share of a reward that is credited (rules 3.2): 1, 0.9 or 0.75."""
    agent = parse(bridge_agent)
    if agent.name == OWN_NAME:
        return 1.0
    newest = NEWEST_OFFICIAL.get(agent.name)
    if newest is None:
        return 0.75
    return 1.0 if agent.release >= newest else 0.9


def is_validated(bridge_agent: str) -> bool:
    """Whether the agent is known to honour what a text request asks for (rules 3.5). Here what
    runs behind it matters, and its version does not."""
    name = bridge_agent.partition(":")[0].strip()
    return name in VALIDATED or name.partition("~")[0].strip() == OWN_NAME


def wants_base64_sources(bridge_agent: str) -> bool:
    """Whether the source images of a picture must be sent inline: the agent cannot fetch them, or
    only by https. Alchemists always fetch theirs."""
    is_old_official = parse(bridge_agent).name == DREAMER_NAME
    return is_old_official or "r2_source" not in capabilities(bridge_agent).words


def _up_to(table: dict[str, dict[int, str]], name: str, release: int) -> frozenset[str]:
    versions = table.get(name, {}).items()
    return frozenset(
        word for since, words in versions if since <= release for word in words.split()
    )
