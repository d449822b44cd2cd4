# SPDX-License-Identifier: AGPL-3.0-or-later
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.matching import (
    Waiting,
    fits,
    lacking,
    prioritised,
)
from openhorde.server.domain.needs import SIZES, WORDS, Needs, Offer
from openhorde.wire.alchemy import FormsSkipped
from openhorde.wire.text import TextsSkipped
from openhorde.wire.work import Skipped

OPEN = Offer(
    kind="image",
    words=frozenset(WORDS),
    sizes_max={"pixels": 512 * 512},
    models=frozenset({"a", "b"}),
    worker_id="w1",
)
MODELS = st.sampled_from(["a", "b", "c"])
WORKERS = st.sampled_from(["w1", "w2", "w3"])
PIXELS = st.sampled_from([64 * 64, 512 * 512, 1024 * 1024])
LIMITS = st.dictionaries(st.sampled_from(sorted(SIZES)), PIXELS)
SOME_WORDS = st.sets(st.sampled_from(sorted(WORDS)), max_size=12)

TOLD = {
    field
    for skipped in (Skipped, FormsSkipped, TextsSkipped)
    for field in skipped.__struct_fields__
}

needs_of_all_sorts = st.builds(
    Needs,
    kind=st.sampled_from(["image", "image", "image", "text"]),
    words=SOME_WORDS.map(sorted).map(tuple),
    sizes=LIMITS.map(dict.items).map(sorted).map(tuple),
    models=st.sets(MODELS).map(sorted).map(tuple),
    workers=st.sets(WORKERS).map(sorted).map(tuple),
    workers_excluded=st.booleans(),
)
offers_of_all_sorts = st.builds(
    Offer,
    kind=st.just("image"),
    words=SOME_WORDS.map(frozenset) | SOME_WORDS.map(frozenset(WORDS).difference),
    sizes_max=LIMITS,
    models=st.frozensets(MODELS),
    worker_id=WORKERS,
    lacking_agent_words=SOME_WORDS.map(frozenset),
)


@given(needs_of_all_sorts, offers_of_all_sorts)
def test_a_request_fits_when_nothing_is_lacking(needs: Needs, offer: Offer) -> None:
    reasons = lacking(needs, offer)
    assert fits(needs, offer) is (not reasons)
    assert len(set(reasons)) == len(reasons)
    assert set(reasons) <= TOLD


@given(needs_of_all_sorts, offers_of_all_sorts, SOME_WORDS, st.frozensets(MODELS), LIMITS)
def test_offering_more_never_makes_a_job_unfit(
    needs: Needs, offer: Offer, words: set[str], models: frozenset[str], limits: dict[str, int]
) -> None:
    more = msgspec.structs.replace(
        offer,
        words=offer.words | words,
        models=offer.models | models,
        sizes_max={
            name: max(offer.sizes_max.get(name, 0), limits.get(name, 0))
            for name in {*offer.sizes_max, *limits}
        },
    )
    assert set(lacking(needs, more)) <= set(lacking(needs, offer))


@given(st.lists(st.tuples(needs_of_all_sorts, st.integers(1, 5)), max_size=6), offers_of_all_sorts)
def test_the_tally_counts_each_reason_on_its_own(
    lanes: list[tuple[Needs, int]], offer: Offer
) -> None:
    counts = Waiting(lanes).tally(offer)
    assert set(counts) <= TOLD
    for reason in TOLD - {"max_pixels"}:
        wanted = sum(
            number
            for needs, number in lanes
            if needs.kind == offer.kind and reason in lacking(needs, offer)
        )
        assert counts.get(reason, 0) == wanted


@pytest.mark.parametrize("word", sorted(WORDS))
def test_each_word_is_needed_and_named(word: str) -> None:
    needs = Needs(kind="image", words=(word,))
    without = msgspec.structs.replace(OPEN, words=OPEN.words - {word})
    by_agent = msgspec.structs.replace(without, lacking_agent_words=frozenset({word}))
    assert lacking(needs, OPEN) == ()
    assert lacking(needs, without) == (WORDS[word].reason,)
    assert lacking(needs, by_agent) == (WORDS[word].reason_when_agent_lacks,)


@pytest.mark.parametrize(
    ("word", "forbidden", "too_old"),
    [
        ("nsfw", "nsfw", "bridge_version"),
        ("trusted", "untrusted", "bridge_version"),
        ("img2img", "img2img", "img2img"),
        ("painting", "painting", "painting"),
        ("inpainting_model", "models", "bridge_version"),
        ("ordinary_model", "models", "bridge_version"),
        ("post_processing", "post_processing", "bridge_version"),
        ("lora", "lora", "bridge_version"),
        ("controlnet", "controlnet", "bridge_version"),
        ("sdxl_controlnet", "controlnet", "bridge_version"),
        ("fast", "performance", "bridge_version"),
        ("brisk", "performance", "bridge_version"),
        ("unsafe_ip", "unsafe_ip", "bridge_version"),
        ("many_steps", "step_count", "bridge_version"),
        ("generous", "kudos", "bridge_version"),
        ("r2", "bridge_version", "bridge_version"),
        ("sampler:lcm:karras", "bridge_version", "bridge_version"),
    ],
)
def test_reasons_of_the_table(word: str, forbidden: str, too_old: str) -> None:
    assert (WORDS[word].reason, WORDS[word].reason_when_agent_lacks) == (forbidden, too_old)


def test_reasons_come_in_the_order_of_the_table() -> None:
    words = ("generous", "many_steps", "post_processing", "controlnet", "tiling", "trusted", "nsfw")
    needs = Needs(
        kind="image", words=words, workers=("w2",), sizes=(("pixels", 2**30),), models=("z",)
    )
    bare = msgspec.structs.replace(OPEN, words=frozenset())
    assert lacking(needs, bare) == (
        "models",
        "max_pixels",
        "nsfw",
        "untrusted",
        "worker_id",
        "bridge_version",
        "controlnet",
        "step_count",
        "post_processing",
        "kudos",
    )


def test_an_agent_too_old_for_post_processing_is_told_so_earlier() -> None:
    needs = Needs(kind="image", words=("many_steps", "post_processing"))
    old = Offer(kind="image", lacking_agent_words=frozenset({"post_processing"}))
    assert lacking(needs, old) == ("bridge_version", "step_count")


def test_models_overlap_and_none_means_any() -> None:
    assert fits(Needs(kind="image", models=("b", "z")), OPEN)
    assert lacking(Needs(kind="image", models=("z",)), OPEN) == ("models",)
    assert fits(Needs(kind="image"), OPEN)
    assert lacking(Needs(kind="text"), OPEN) == ("models",)


def test_listed_workers() -> None:
    assert fits(Needs(kind="image", workers=("w1", "w9")), OPEN)
    assert lacking(Needs(kind="image", workers=("w9",)), OPEN) == ("worker_id",)
    shunned = Needs(kind="image", workers=("w1",), workers_excluded=True)
    assert lacking(shunned, OPEN) == ("worker_id",)
    assert fits(Needs(kind="image", workers=("w9",), workers_excluded=True), OPEN)
    assert fits(Needs(kind="image", workers_excluded=True), OPEN)


def test_a_request_as_large_as_the_limit_fits_and_is_counted_all_the_same() -> None:
    exact = Needs(kind="image", sizes=(("pixels", OPEN.sizes_max["pixels"]),))
    assert fits(exact, OPEN)
    assert Waiting([(exact, 3), (Needs(kind="image", sizes=(("pixels", 64),)), 2)]).tally(OPEN) == {
        "max_pixels": 3
    }


def test_priority_users_need_not_pay_in_advance() -> None:
    needs = Needs(kind="image", words=("generous",))
    stingy = msgspec.structs.replace(OPEN, words=OPEN.words - {"generous"})
    assert lacking(needs, stingy) == ("kudos",)
    assert fits(needs, prioritised(stingy))
