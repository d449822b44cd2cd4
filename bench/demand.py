# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is asked for, and who offers to do it: seeded, varied, and like what people ask."""

from dataclasses import dataclass
from random import Random
from typing import Any, Final

MODELS: Final = (
    "AlbedoBase XL (SDXL)",
    "Deliberate",
    "Dreamshaper",
    "ICBINP - I Can't Believe It's Not Photography",
    "Anything Diffusion",
    "Juggernaut XL",
    "stable_diffusion",
    "Realistic Vision",
    "Pony Diffusion XL",
    "Nova Anime XL",
    "Inkpunk Diffusion",
    "Rev Animated",
)
RARE_MODEL: Final = MODELS[-1]
RARE_SIZE: Final = (448, 448)
MODELS_ALL: Final = 240
SHAPES_PER_MODEL: Final = 6
BRIDGE_AGENT: Final = (
    "AI Horde Worker reGen:13.0.0:https://github.com/Haidra-Org/horde-worker-reGen"
)
CLIENT_AGENT: Final = "openhorde-bench:1:unknown"

_SIZES = ((512, 512), (512, 768), (768, 512), (640, 640), (832, 1216), (1024, 1024))
_SAMPLERS = ("k_euler_a", "k_euler", "k_dpmpp_2m", "k_lms", "DDIM")
_SUBJECTS = ("lighthouse", "fox", "harbour", "orchard", "astronaut", "library", "glacier", "tram")
_MANNERS = ("misty", "golden", "intricate", "quiet", "stormy", "luminous", "faded", "ancient")
_WAYS = ("oil painting", "watercolour", "long exposure", "isometric", "linocut", "film photograph")


@dataclass(frozen=True, slots=True)
class Shape:
    """A request that people ask for again and again, and how often compared with others."""

    request: dict[str, Any]
    weight: int


def shapes(random: Random) -> tuple[Shape, ...]:
    """Some dozens of kinds of requests; all differ in what they need, so each has its lane."""
    found: dict[tuple[object, ...], Shape] = {}
    for number, model in enumerate(MODELS):
        weight = 2 if number < len(MODELS) // 2 else 1
        # The first of each model is plain; that of the rare model is so small that a picky worker
        # finds it, and nothing else that would do with any model.
        wanted = len(found) + SHAPES_PER_MODEL
        plain_size = RARE_SIZE if model == RARE_MODEL else _SIZES[0]
        choice: tuple[object, ...] = (model, plain_size, "k_euler_a", False, False, False)
        while len(found) < wanted:
            if choice not in found:
                found[choice] = Shape(_request(random, *choice), weight)
            choice = (
                model,
                random.choice(_SIZES),
                random.choice(_SAMPLERS),
                random.random() < 0.3,
                random.random() < 0.2,
                random.random() < 0.1,
            )
    return tuple(found.values())


def _request(
    random: Random,
    model: Any,
    size: Any,
    sampler: Any,
    nsfw: Any,
    upscaled: Any,
    with_lora: Any,
) -> dict[str, Any]:
    params: dict[str, Any] = {
        "width": size[0],
        "height": size[1],
        "steps": random.randint(18, 30),
        "cfg_scale": random.choice((5.0, 7.0, 7.5)),
        "sampler_name": sampler,
        "n": 1,
    }
    if upscaled:
        params["post_processing"] = ["RealESRGAN_x4plus"]
    if with_lora:
        params["loras"] = [{"name": "247778", "is_version": True}]
    return {
        "prompt": prompt(random),
        "params": params,
        "models": [model],
        "nsfw": nsfw,
        "censor_nsfw": not nsfw,
        "r2": True,
        "shared": False,
    }


def prompt(random: Random) -> str:
    """Some thirty words and a negative part."""
    parts = [
        f"{random.choice(_MANNERS)} {random.choice(_SUBJECTS)} in {random.choice(_MANNERS)} light"
        for _ in range(random.randint(3, 8))
    ]
    return f"{', '.join(parts)}, {random.choice(_WAYS)} ### blurry, low quality, watermark"


def all_models() -> tuple[str, ...]:
    """The models of a large horde, the most popular first."""
    return (*MODELS, *(f"Model {number:03}" for number in range(len(MODELS), MODELS_ALL)))


def ordinary_offer(name: str) -> dict[str, Any]:
    """The pop of a worker with a good card and three quarters of the models."""
    return _offer(name, MODELS[: len(MODELS) * 3 // 4], 1024 * 1024)


def complete_offer(name: str) -> dict[str, Any]:
    """The pop of a worker that does everything, with the models of the templates."""
    return _offer(name, MODELS, 2048 * 2048)


def easy_offer(name: str) -> dict[str, Any]:
    """The pop of a worker that does everything, with all models there are."""
    return _offer(name, all_models(), 2048 * 2048)


def offer_of_models(name: str, count: int) -> dict[str, Any]:
    """The pop of a worker that does everything with the `count` most popular models."""
    return _offer(name, all_models()[:count], 2048 * 2048)


def picky_offer(name: str) -> dict[str, Any]:
    """The pop of a worker with one rare model, a small card and a careful owner."""
    careful = {"nsfw": False, "allow_post_processing": False, "allow_lora": False}
    return _offer(name, (RARE_MODEL,), RARE_SIZE[0] * RARE_SIZE[1]) | careful


def _offer(name: str, models: tuple[str, ...], pixels_max: int) -> dict[str, Any]:
    return {
        "name": name,
        "models": list(models),
        "bridge_agent": BRIDGE_AGENT,
        "nsfw": True,
        "threads": 1,
        "amount": 1,
        "max_pixels": pixels_max,
        "allow_img2img": True,
        "allow_painting": True,
        "allow_post_processing": True,
        "allow_controlnet": True,
        "allow_sdxl_controlnet": True,
        "allow_lora": True,
    }
