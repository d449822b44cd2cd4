# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import pytest
from domain.kinds.test_image import REFERENCE, RICH, needs, offer, request
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from openhorde.server.domain.kinds import image
from openhorde.server.domain.kinds.image_variants import PLAIN, Variants
from openhorde.server.domain.kinds.variants import apply
from openhorde.server.domain.matching import fits, shortfalls
from openhorde.server.domain.needs import (
    POST_PROCESSORS,
    SAMPLERS,
    WORDS,
    Needs,
    Offer,
    post_processor_word,
)
from openhorde.server.domain.possibility import Candidate, Variant
from openhorde.server.domain.refusals import Refusal
from openhorde.wire.image import ExtraSourceImage, Lora, TextualInversion
from openhorde.wire.requests import ImageRequest

AGENTS = [
    "AI Horde Worker reGen:13:x",
    "AI Horde Worker:20:x",
    "SD-WebUI Stable Horde:1:x",
    "x:1:x",
]
MODELS = ["stable_diffusion", "painter", "xl", "cascade", "flux", "patient"]
CHEAP = 1


def judged(wanted: ImageRequest) -> Needs:
    """What a request needs; raises Refusal when it may not be asked."""
    image.check_features(wanted, RICH, REFERENCE)
    return needs(image.normalised(wanted, RICH), price_each_milli=CHEAP)


def nearest(wanted: ImageRequest, *offers: Offer) -> Variant | None:
    variants = Variants([Candidate(each, 1) for each in offers], REFERENCE)
    return variants.nearest(wanted, variants.closest(judged(wanted)), judged)


def changes(wanted: ImageRequest, *offers: Offer) -> dict[str, Any]:
    found = nearest(wanted, *offers)
    assert found is not None
    return found.changes


sides = st.integers(1, 48).map(lambda steps: steps * 64)
booleans = st.booleans()
requests_of_all_sorts = st.builds(
    lambda params, fields: request(params, **fields),
    st.fixed_dictionaries(
        {"width": sides, "height": sides},
        optional={
            "sampler_name": st.sampled_from(SAMPLERS),
            "karras": booleans,
            "steps": st.integers(1, 500),
            "loras": st.just([Lora(name="a"), Lora(name="7", is_version=True)]),
            "tis": st.just([TextualInversion(name="t")]),
            "post_processing": st.lists(st.sampled_from(POST_PROCESSORS), max_size=2),
            "control_type": st.sampled_from(["canny", "hough"]),
            "image_is_control": booleans,
            "return_control_map": booleans,
            "transparent": booleans,
            "tiling": booleans,
            "hires_fix": booleans,
            "clip_skip": st.integers(1, 3),
        },
    ),
    st.fixed_dictionaries(
        {"models": st.lists(st.sampled_from([*MODELS, "unknown"]), max_size=2)},
        optional={
            "nsfw": booleans,
            "trusted_workers": booleans,
            "slow_workers": booleans,
            "extra_slow_workers": booleans,
            "r2": booleans,
            "workers": st.sampled_from([["w1"], ["w9"], ["w1", "w9"]]),
            "worker_blacklist": booleans,
            "source_image": st.just("x"),
            "source_mask": st.just("x"),
            "source_processing": st.sampled_from(["img2img", "inpainting", "outpainting", "remix"]),
            "extra_source_images": st.just([ExtraSourceImage(image="y")]),
        },
    ),
)
offers_of_all_sorts = st.builds(
    lambda models, fields: offer(tuple(models), **fields),
    st.lists(st.sampled_from(MODELS), min_size=1, max_size=3, unique=True),
    st.fixed_dictionaries(
        {
            "bridge_agent": st.sampled_from(AGENTS),
            "max_pixels": st.integers(64 * 64, 2048 * 2048),
            "trusted_owner": booleans,
            "speed": st.sampled_from([1e5, 1e6]),
            "nsfw": booleans,
            "extra_slow_worker": booleans,
            "allow_img2img": booleans,
            "allow_painting": booleans,
            "allow_post_processing": booleans,
            "allow_controlnet": booleans,
            "control_types": st.sampled_from([None, [], ["canny"]]),
            "post_processors": st.sampled_from([None, [], ["GFPGAN"]]),
            "allow_sdxl_controlnet": booleans,
            "allow_lora": booleans,
            "limit_max_steps": booleans,
        }
    ),
)


@settings(max_examples=150)
@given(requests_of_all_sorts, st.lists(offers_of_all_sorts, min_size=1, max_size=4))
def test_the_changed_request_fits_a_worker_and_may_be_asked(
    wanted: ImageRequest, offers: list[Offer]
) -> None:
    try:
        asked = judged(wanted)
    except Refusal:
        assume(False)
    assume(not any(fits(asked, each) for each in offers))
    found = nearest(wanted, *offers)
    if found is None:
        return
    assert found.changes
    changed = judged(apply(wanted, found.changes))
    assert any(fits(changed, each) for each in offers)
    assert found.sentence.startswith("It would run with ")


@settings(max_examples=60)
@given(requests_of_all_sorts, st.sampled_from(["stable_diffusion", "xl"]))
def test_a_capable_worker_always_leaves_a_way(wanted: ImageRequest, model: str) -> None:
    wanted.source_processing = "img2img"
    wanted.extra_source_images = []
    try:
        asked = judged(wanted)
    except Refusal:
        assume(False)
    able = offer((model,), max_pixels=512 * 512)
    if fits(asked, able) or wanted.params.control_type:
        return
    assert nearest(wanted, able) is not None


@pytest.mark.parametrize(
    ("params", "fields", "worker", "expected"),
    [
        ({"width": 1024, "height": 1024}, {}, {"max_pixels": 512 * 512}, (512, 512)),
        ({"width": 1024, "height": 512}, {}, {"max_pixels": 512 * 512}, (704, 320)),
        ({"width": 3072, "height": 64}, {}, {"max_pixels": 100_000}, (1536, 64)),
    ],
)
def test_a_smaller_picture_of_the_same_proportion(
    params: dict[str, Any],
    fields: dict[str, Any],
    worker: dict[str, Any],
    expected: tuple[int, int],
) -> None:
    found = changes(request(params, **fields), offer(**worker))
    width, height = expected
    given_up = {"params.width": width, "params.height": height}
    assert found == {path: side for path, side in given_up.items() if side != 64}


@pytest.mark.parametrize(
    ("params", "fields", "worker", "expected"),
    [
        ({"loras": [Lora(name="a")]}, {}, {"allow_lora": False}, {"params.loras": []}),
        ({}, {"nsfw": True}, {"nsfw": False}, {"nsfw": False}),
        ({}, {"slow_workers": False}, {"speed": 1e5}, {"slow_workers": True}),
        ({}, {"trusted_workers": True}, {"trusted_owner": False}, {"trusted_workers": False}),
        ({}, {}, {"extra_slow_worker": True}, {"extra_slow_workers": True}),
        ({}, {"workers": ["w9"]}, {}, {"workers": []}),
        ({}, {"workers": ["w1"], "worker_blacklist": True}, {}, {"workers": []}),
        ({"steps": 60}, {}, {"limit_max_steps": True}, {"params.steps": 30}),
        (
            {"steps": 60, "sampler_name": "k_heun"},
            {},
            {"limit_max_steps": True},
            {"params.steps": 15},
        ),
        ({}, {"models": ["absent"]}, {"models": ("xl", "patient")}, {"models": ["patient"]}),
        ({}, {"source_image": "x"}, {"allow_img2img": False}, {"source_image": None}),
        (
            {"post_processing": ["GFPGAN"]},
            {},
            {"allow_post_processing": False},
            {"params.post_processing": []},
        ),
        (
            {},
            {"source_image": "x", "source_mask": "x", "source_processing": "inpainting"},
            {"allow_painting": False},
            {"source_mask": None, "source_processing": "img2img"},
        ),
    ],
)
def test_what_is_changed(
    params: dict[str, Any],
    fields: dict[str, Any],
    worker: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    assert changes(request(params, **fields), offer(**worker)) == expected


def test_a_sampler_is_exchanged_for_the_most_alike() -> None:
    wanted = request({"sampler_name": "k_heun"})
    plain = offer()
    other_schedule = Offer(
        kind=plain.kind,
        words=plain.words - {"sampler:k_heun:karras"},
        sizes_max=plain.sizes_max,
        models=plain.models,
    )
    assert changes(wanted, other_schedule) == {"params.karras": False}
    unknown = Offer(
        kind=plain.kind,
        words=plain.words - {"sampler:k_heun:karras", "sampler:k_heun"},
        sizes_max=plain.sizes_max,
        models=plain.models,
    )
    assert changes(wanted, unknown) == {"params.sampler_name": "k_dpm_2"}


def test_only_what_a_worker_does_not_know_is_left_out() -> None:
    plain = offer()
    unknowing = Offer(
        kind=plain.kind,
        words=plain.words - {post_processor_word("NMKD_Siax"), "lora_versions"},
        sizes_max=plain.sizes_max,
        models=plain.models,
    )
    wanted = request(
        {
            "post_processing": ["GFPGAN", "NMKD_Siax"],
            "loras": [Lora(name="a"), Lora(name="7", is_version=True)],
        }
    )
    assert changes(wanted, unknowing) == {
        "params.post_processing": ["GFPGAN"],
        "params.loras": [Lora(name="a")],
    }


def test_a_control_type_that_a_worker_lacks_is_left_out() -> None:
    wanted = request({"control_type": "hed", "image_is_control": True}, source_image="x")
    assert changes(wanted, offer(control_types=["canny"])) == {
        "params.control_type": None,
        "params.image_is_control": False,
    }


def test_the_least_change_is_chosen() -> None:
    without_source = offer(allow_img2img=False)
    small = offer(max_pixels=512 * 512)
    wanted = request({"width": 1024, "height": 1024}, source_image="x")
    assert changes(wanted, without_source, small) == {"params.width": 512, "params.height": 512}
    elsewhere = offer(("xl",), max_pixels=2048 * 2048)
    assert changes(wanted, elsewhere, small) == {"params.width": 512, "params.height": 512}


def test_a_model_that_brings_a_new_need_has_that_met_too() -> None:
    wanted = request({"steps": 50}, models=["patient"])
    assert changes(wanted, offer(("xl",), limit_max_steps=True)) == {
        "models": ["xl"],
        "params.steps": 30,
    }


def test_what_cannot_be_helped() -> None:
    assert nearest(request(), offer(("painter",), bridge_agent="x:1:x")) is None
    too_dear = Needs(kind="image", words=("generous",))
    stingy = offer(require_upfront_kudos=True)
    variants = Variants([Candidate(stingy, 1)], REFERENCE)
    assert variants.closest(too_dear) == []


def test_the_sentence() -> None:
    found = nearest(
        request({"width": 1024, "height": 1024, "loras": [Lora(name="a")]}, slow_workers=False),
        offer(max_pixels=512 * 512, allow_lora=False, speed=1e5),
    )
    assert found is not None
    assert found.sentence == (
        "It would run with params.width 512, params.height 512, slow_workers true"
        " and no params.loras."
    )


def test_words_that_can_be_done_without_are_words() -> None:
    assert set(PLAIN) <= set(WORDS)
    for word in PLAIN:
        bare = Offer(kind="image", words=frozenset(WORDS) - {word}, sizes_max={"pixels": 2**30})
        assert [each.what for each in shortfalls(Needs(kind="image", words=(word,)), bare)] == [
            word
        ]
