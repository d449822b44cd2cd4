# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.kinds import image
from openhorde.server.domain.reference import Reference
from openhorde.wire.image import ImageParams
from openhorde.wire.requests import ImageRequest

REFERENCE = Reference.from_json({"flux": {"baseline": "flux_1"}})


def request(models: tuple[str, ...] = (), **params: Any) -> ImageRequest:
    return ImageRequest(prompt="a cat", models=list(models), params=ImageParams(**params))


@pytest.mark.parametrize(
    ("params", "steps"),
    [
        ({}, 30),
        ({"steps": 7}, 7),
        ({"steps": 500}, 500),
        ({"control_type": "canny"}, 20),
        ({"control_type": "canny", "steps": 12}, 12),
        ({"control_type": "canny", "steps": 41}, 40),
    ],
)
def test_effective_steps(params: dict[str, Any], steps: int) -> None:
    assert image.steps(request(**params)) == steps


def test_accurate_steps() -> None:
    assert image.accurate_steps("k_euler_a", 30) == 30
    assert image.accurate_steps("k_dpm_adaptive", 5) == 40
    for sampler in ("k_heun", "k_dpm_2", "k_dpm_2_a", "k_dpmpp_2s_a", "k_dpmpp_sde"):
        assert image.accurate_steps(sampler, 30) == 60


def test_size() -> None:
    heavy = request(width=1024, height=512, steps=10, sampler_name="k_heun")
    assert image.size(heavy) == image.Size(pixels=524_288, things=10_485_760)


@pytest.mark.parametrize(
    ("wanted", "extra_slow", "seconds"),
    [
        (request(), False, 150),
        (request(), True, 450),
        (request(steps=100), False, 230),
        (request(width=1024, height=1024, steps=50), False, 430),
        (request(width=1024, height=1024, steps=50), True, 1290),
        (request(width=1024, height=1024, steps=40, control_type="hed"), False, 700),
        (request(("flux",), width=1024, height=1024, steps=20), False, 570),
        (request(("a", "[ZImage] b"), width=1024, height=1024, steps=20), False, 570),
        (request(width=576, height=576, steps=50), False, 156),
        (request(width=576, height=576, steps=49), False, 154),
    ],
)
def test_time_to_live(wanted: ImageRequest, extra_slow: bool, seconds: int) -> None:
    assert image.ttl_seconds(wanted, REFERENCE, extra_slow=extra_slow) == seconds


def test_a_horde_may_allow_shorter_times() -> None:
    ttl = image.ttl_seconds(request(steps=1), REFERENCE, extra_slow=False, minimum_seconds=5)
    assert ttl == 32


@pytest.mark.parametrize(
    ("seed", "number"),
    [
        (None, 77),
        ("", 77),
        ("0", 0),
        ("12345", 12345),
        ("4294967295", 2**32 - 1),
        ("4294967296", 1),
        ("18446744073709551616", 1),
        ("ab", 0x6261),
        ("abcd", 0x64636261),
        ("abcde", 0x65),
        ("-1", 0x312D),
        ("²", int.from_bytes("²".encode(), "little")),
    ],
)
def test_seeds(seed: str | None, number: int) -> None:
    assert image.base_seed(seed, 77) == number


@given(st.text(max_size=200) | st.integers(0).map(str), st.integers(0, 2**70))
def test_seeds_are_32_bits(seed: str, random_seed: int) -> None:
    value = image.base_seed(seed, random_seed)
    assert 0 <= value < 2**32
    assert 0 <= image.job_seed(value, 1000, 20) < 2**32


def test_a_seed_of_any_length_is_read_at_once() -> None:
    assert 0 <= image.base_seed("9" * 1_000_000, 0) < 2**32
    assert 0 <= image.base_seed("x" * 1_000_000, 0) < 2**32


def test_varied_seeds() -> None:
    assert image.job_seed(1000, 3, 4) == 1012
    assert image.job_seed(2**32 - 1, 1, 1) == 1
