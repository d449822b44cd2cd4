# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much work an image request is: its steps, size, deadline and seeds (rules 1.7, 2.7)."""

from typing import Final

from msgspec import Struct

from openhorde.server.domain.reference import Reference
from openhorde.wire.requests import ImageRequest

STEPS_DEFAULT: Final = 30
STEPS_DEFAULT_WITH_CONTROL: Final = 20
STEPS_MAX_WITH_CONTROL: Final = 40
ADAPTIVE_SAMPLER: Final = "k_dpm_adaptive"
ADAPTIVE_STEPS: Final = 40
SECOND_ORDER_SAMPLERS: Final = frozenset(
    {"k_heun", "k_dpm_2", "k_dpm_2_a", "k_dpmpp_2s_a", "k_dpmpp_sde"}
)
HEAVY_BASELINES: Final = frozenset({"flux_1", "qwen_image", "z_image_turbo"})
TTL_MIN_SECONDS: Final = 150
SEED_BITS: Final = 32
SEED_DIGITS_MAX: Final = 4000
"""Longer digit strings are read as text; Python refuses to read them as numbers."""


class Size(Struct, frozen=True):
    """One picture's `pixels` (width x height) and `things` (pixels x accurate steps)."""

    pixels: int
    things: int


def steps(request: ImageRequest) -> int:
    """The steps that are done: asked or default, capped with a control type (rules 2.1)."""
    asked = request.params.steps
    if request.params.control_type is None:
        return STEPS_DEFAULT if asked is None else asked
    return STEPS_DEFAULT_WITH_CONTROL if asked is None else min(asked, STEPS_MAX_WITH_CONTROL)


def accurate_steps(sampler: str, steps: int) -> int:
    """Evaluations of the network: second-order samplers take two a step (rules 1.7)."""
    if sampler == ADAPTIVE_SAMPLER:
        return ADAPTIVE_STEPS
    return steps * 2 if sampler in SECOND_ORDER_SAMPLERS else steps


def request_steps(request: ImageRequest) -> int:
    """The accurate steps of one picture of the request: S in the rules."""
    return accurate_steps(request.params.sampler_name, steps(request))


def size(request: ImageRequest) -> Size:
    """The size of one picture of the request."""
    pixels = request.params.width * request.params.height
    return Size(pixels, pixels * request_steps(request))


def ttl_seconds(
    request: ImageRequest,
    reference: Reference,
    *,
    extra_slow: bool,
    minimum_seconds: int = TTL_MIN_SECONDS,
) -> int:
    """How long a worker may take for one job before it is given up (rules 1.7), whole seconds."""
    pixels = request.params.width * request.params.height
    seconds = 30 + 2 * request_steps(request) * pixels / 512**2
    if request.params.control_type is not None:
        seconds *= 2
    if any(reference.baseline(name) in HEAVY_BASELINES for name in request.models):
        seconds *= 3
    seconds = max(seconds, minimum_seconds)
    return int(seconds * 3 if extra_slow else seconds)


def base_seed(seed: str | None, random_seed: int) -> int:
    """The number that a request's seed stands for, below 2**32 (rules 2.7).

    Nothing: `random_seed`. Digits: that number. Other text: its bytes, little-endian.
    """
    if not seed:
        return _reduced(random_seed)
    if seed.isascii() and seed.isdigit() and len(seed) <= SEED_DIGITS_MAX:
        return _reduced(int(seed))
    return _reduced(int.from_bytes(seed.encode(), "little"))


def job_seed(base: int, variation: int, n_waiting: int) -> int:
    """The seed of a job when the request varies its seeds; `n_waiting` jobs at pop time."""
    return _reduced(base + variation * n_waiting)


def _reduced(value: int) -> int:
    """`value` shifted right by 32 bits as often as it takes to be below 2**32."""
    surplus = max(0, value.bit_length() - SEED_BITS)
    return value >> (-(-surplus // SEED_BITS) * SEED_BITS)
