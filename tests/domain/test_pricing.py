# SPDX-License-Identifier: AGPL-3.0-or-later
import csv
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain import pricing
from openhorde.server.domain.needs import POST_PROCESSORS, SAMPLERS
from openhorde.server.domain.reference import Reference
from openhorde.wire.image import ExtraSourceImage, ImageParams, Lora, TextualInversion
from openhorde.wire.requests import ImageRequest

POINTS = Path(__file__).parent / "price_points.csv"
REFERENCE = Reference.from_json(
    {
        "sd": {"baseline": "stable diffusion 1"},
        "xl": {"baseline": "stable_diffusion_xl"},
        "cascade": {"baseline": "stable_cascade"},
        "qwen": {"baseline": "qwen_image"},
    }
)


def request(params: dict[str, Any] | None = None, **fields: Any) -> ImageRequest:
    return ImageRequest(**dict[str, Any](prompt="a", params=ImageParams(**(params or {}))) | fields)


def request_of(point: dict[str, str]) -> ImageRequest:
    control = point["control_type"]
    has_source = point["source_image"] == "True"
    return request(
        {
            "width": int(point["w"]),
            "height": int(point["h"]),
            "steps": int(point["steps"]),
            "sampler_name": point["sampler"],
            "hires_fix": point["hires_fix"] == "True",
            "denoising_strength": float(point["denoise"]),
            "control_type": None if control == "None" else control,
            "post_processing": [name for name in point["pp"].split("+") if name],
        },
        source_image="x" if has_source else None,
        source_processing=point["source_processing"] if has_source else "img2img",
    )


def sampled_points() -> list[dict[str, str]]:
    with POINTS.open() as file:
        return [point for point in csv.DictReader(file) if point["sampler"] in SAMPLERS]


def is_common(point: dict[str, str]) -> bool:
    sides = (int(point["w"]), int(point["h"]))
    return min(sides) >= 256 and max(sides) <= 2048 and int(point["steps"]) <= 150


def test_common_pictures_cost_about_what_they_cost_elsewhere() -> None:
    errors = sorted(
        abs(pricing.image_base(request_of(point)).base_milli / 1000 / float(point["kudos"]) - 1)
        for point in sampled_points()
        if is_common(point)
    )
    assert len(errors) > 500
    assert median(errors) < 0.08
    assert errors[int(len(errors) * 0.95)] < 0.25


PARAMS = st.fixed_dictionaries(
    {
        "width": st.integers(1, 48).map(lambda side: side * 64),
        "height": st.integers(1, 48).map(lambda side: side * 64),
        "steps": st.integers(1, 500),
        "sampler_name": st.sampled_from(SAMPLERS),
        "hires_fix": st.booleans(),
        "denoising_strength": st.none() | st.floats(0.01, 1),
        "control_type": st.none() | st.sampled_from(sorted(pricing.CONTROL_FACTORS)),
        "post_processing": st.lists(st.sampled_from(POST_PROCESSORS), unique=True, max_size=4),
        "loras": st.lists(st.just(Lora(name="a")), max_size=5),
        "tis": st.lists(st.just(TextualInversion(name="a")), max_size=2),
        "n": st.integers(1, 20),
    }
)
FIELDS = st.fixed_dictionaries(
    {
        "source_image": st.none() | st.just("x"),
        "source_processing": st.sampled_from(["img2img", "inpainting", "outpainting"]),
        "slow_workers": st.booleans(),
        "worker_blacklist": st.booleans(),
        "models": st.lists(st.sampled_from(["sd", "xl", "cascade", "qwen", "x"]), max_size=2),
        "extra_source_images": st.lists(st.just(ExtraSourceImage(image="x")), max_size=5),
    }
)


@given(PARAMS, FIELDS, st.integers(0, 40), st.integers(0, 40), st.integers(0, 300))
def test_larger_and_longer_never_costs_less(
    params: dict[str, Any], fields: dict[str, Any], wider: int, higher: int, longer: int
) -> None:
    more = params | {
        "width": params["width"] + 64 * wider,
        "height": params["height"] + 64 * higher,
        "steps": params["steps"] + longer,
    }
    small = pricing.image_base(request(params, **fields)).base_milli
    assert pricing.image_base(request(more, **fields)).base_milli >= small


@given(PARAMS, FIELDS, st.booleans(), st.booleans())
def test_lines_explain_every_amount_exactly(
    params: dict[str, Any], fields: dict[str, Any], shared: bool, style: bool
) -> None:
    wanted = request(params, **fields)
    base = pricing.image_base(wanted)
    assert sum(line.milli for line in base.lines) == base.base_milli > 0
    assert all(line.label and line.milli > 0 for line in base.lines)
    each = pricing.charge(wanted, base.base_milli)
    surplus = each.price_each_milli + each.tax_each_milli - base.base_milli
    assert sum(line.milli for line in each.lines) == surplus
    whole = pricing.estimate(wanted, REFERENCE, shared=shared, someone_elses_style=style)
    assert sum(line.milli for line in whole.lines) == whole.total_milli
    first = wanted.models[0] if wanted.models else "xl"
    taxed = each.price_each_milli + each.tax_each_milli
    activation = pricing.activation_tax_milli(wanted, shared=shared, someone_elses_style=style)
    expected = taxed * REFERENCE.multiplier(first) * wanted.params.n + activation
    assert whole.total_milli == expected


def test_the_ordinary_picture() -> None:
    price = pricing.image_base(request())
    assert [line.label for line in price.lines] == [
        "start",
        "512 x 512 pixels",
        "30 steps (k_euler_a)",
    ]
    assert price.base_milli == pytest.approx(7610, rel=0.05)


def test_every_post_processor_and_control_type_has_a_price() -> None:
    assert set(pricing.POST_PROCESSOR_KUDOS) == set(POST_PROCESSORS)


def test_loras_and_inversions_cost_extra() -> None:
    plain = pricing.image_base(request()).base_milli
    loras = pricing.image_base(request({"loras": [Lora(name="a")] * 2})).base_milli
    tis = pricing.image_base(request({"tis": [TextualInversion(name="a")] * 3})).base_milli
    assert (loras - plain, tis - plain) == (6000, 1000)


def test_the_adaptive_sampler_ignores_steps() -> None:
    few, many = (
        pricing.image_base(request({"sampler_name": "k_dpm_adaptive", "steps": steps})).base_milli
        for steps in (5, 500)
    )
    assert few == many


@pytest.mark.parametrize(
    ("params", "fields", "price", "tax"),
    [
        ({}, {}, 10_000, 1000),
        ({}, {"source_image": "x"}, 13_000, 1000),
        ({"post_processing": ["RealESRGAN_x2plus", "GFPGAN"]}, {}, 10_500, 1000),
        ({"post_processing": ["strip_background", "CodeFormers"]}, {}, 10_000, 1000),
        ({}, {"slow_workers": False}, 12_000, 1200),
        ({}, {"worker_blacklist": True}, 11_000, 1100),
        ({}, {"slow_workers": False, "worker_blacklist": True}, 13_200, 1320),
        ({"post_processing": ["NMKD_Siax"]}, {"source_image": "x"}, 13_650, 1000),
    ],
)
def test_what_a_requester_pays(
    params: dict[str, Any], fields: dict[str, Any], price: int, tax: int
) -> None:
    each = pricing.charge(request(params, **fields), 10_000)
    assert (each.price_each_milli, each.tax_each_milli) == (price, tax)


@pytest.mark.parametrize(
    ("extra_images", "shared", "style", "tax"),
    [
        (0, False, False, 3000),
        (0, True, False, 1000),
        (2, False, False, 13_000),
        (0, False, True, 5000),
        (1, True, True, 8000),
    ],
)
def test_what_a_request_burns(extra_images: int, shared: bool, style: bool, tax: int) -> None:
    wanted = request(extra_source_images=[ExtraSourceImage(image="x")] * extra_images)
    burned = pricing.activation_tax_milli(wanted, shared=shared, someone_elses_style=style)
    assert burned == tax


@pytest.mark.parametrize(
    ("models", "multiplier"), [([], 2), (["sd", "qwen"], 1), (["qwen", "sd"], 12), (["x"], 1)]
)
def test_the_first_model_counts_in_an_estimate(models: list[str], multiplier: int) -> None:
    wanted = request({"n": 3}, models=models)
    base = pricing.image_base(wanted).base_milli
    total = pricing.estimate(wanted, REFERENCE).total_milli
    assert total == (base + 1000) * multiplier * 3 + 3000
