# SPDX-License-Identifier: AGPL-3.0-or-later
import msgspec
import pytest
from domain.test_matching import OPEN, TOLD, needs_of_all_sorts, offers_of_all_sorts
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.matching import fits, lacking, shortfalls
from openhorde.server.domain.needs import WORDS, Needs, Offer
from openhorde.server.domain.possibility import Candidate, closest, explain

offers_of_a_horde = st.lists(offers_of_all_sorts, max_size=8)


def without(*words: str, worker_id: str = "w1") -> Offer:
    return msgspec.structs.replace(OPEN, words=OPEN.words - frozenset(words), worker_id=worker_id)


@given(needs_of_all_sorts, offers_of_a_horde)
def test_every_worker_that_does_not_fit_is_ruled_out_by_something(
    needs: Needs, offers: list[Offer]
) -> None:
    told = explain(needs, offers)
    of_kind = [offer for offer in offers if offer.kind == needs.kind]
    assert told.online == len(of_kind)
    assert told.fitting == sum(fits(needs, offer) for offer in of_kind)
    assert [obstacle.workers for obstacle in told.obstacles] == sorted(
        (obstacle.workers for obstacle in told.obstacles), reverse=True
    )
    for obstacle in told.obstacles:
        assert obstacle.reason in TOLD
        assert obstacle.workers == sum(obstacle.reason in lacking(needs, o) for o in of_kind)
        assert obstacle.alone == sum(lacking(needs, o) == (obstacle.reason,) for o in of_kind)
        assert obstacle.sentence.startswith(f"{obstacle.workers} of {told.online} worker")
    named = {obstacle.reason for obstacle in told.obstacles}
    assert named == {reason for offer in of_kind for reason in lacking(needs, offer)}


@given(needs_of_all_sorts, offers_of_a_horde)
def test_no_worker_is_named(needs: Needs, offers: list[Offer]) -> None:
    hidden = [
        msgspec.structs.replace(offer, worker_id=f"secret-{place}")
        for place, offer in enumerate(offers)
    ]
    assert not any("secret" in each.sentence for each in explain(needs, hidden).obstacles)


def sentences(needs: Needs, *offers: Offer) -> list[str]:
    return [obstacle.sentence for obstacle in explain(needs, offers).obstacles]


def test_sentences() -> None:
    unserved = Needs(kind="image", models=("z",))
    assert sentences(unserved, OPEN, OPEN) == [
        "2 of 2 workers online do not serve any of the models asked for."
    ]
    loras = Needs(kind="image", words=("lora",), sizes=(("pixels", OPEN.sizes_max["pixels"]),))
    assert sentences(loras, without("lora"), OPEN) == [
        "1 of 2 workers online does not apply loras."
    ]
    assert sentences(Needs(kind="image", sizes=(("pixels", 2**30),)), OPEN) == [
        "1 of 1 worker online does not make pictures as large as this one."
    ]
    assert sentences(Needs(kind="image", workers=("w2",)), OPEN, OPEN) == [
        "2 of 2 workers online do not belong to the workers listed."
    ]
    shunned = Needs(kind="image", workers=("w1",), workers_excluded=True)
    assert sentences(shunned, OPEN) == ["1 of 1 worker online is excluded by the request."]
    many = Needs(kind="image", words=("clip_skip", "flux", "hires_fix", "tiling"))
    assert sentences(many, without("clip_skip", "flux"), without(*many.words)) == [
        "2 of 2 workers online do not skip the last layers of the text encoder"
        ", or do not run software new enough for Flux, or do not work in two passes"
        ", or do not do other things that it needs."
    ]


def test_which_reason_alone_stands_in_the_way() -> None:
    needs = Needs(kind="image", words=("lora", "nsfw"))
    told = explain(needs, [without("lora"), without("lora", "nsfw"), without("lora")])
    assert [(each.reason, each.workers, each.alone) for each in told.obstacles] == [
        ("lora", 3, 2),
        ("nsfw", 1, 0),
    ]


def test_nobody_online() -> None:
    told = explain(Needs(kind="text"), [OPEN])
    assert (told.online, told.fitting, told.obstacles) == (0, 0, ())


@pytest.mark.parametrize("word", sorted(WORDS))
def test_meanings_read_well_after_do_not(word: str) -> None:
    told = sentences(Needs(kind="image", words=(word,)), without(word), OPEN)
    assert told == [f"1 of 2 workers online does not {WORDS[word].meaning}."]
    verb = WORDS[word].meaning.split()[0].removesuffix("ss")
    assert not verb.endswith("s")


@given(needs_of_all_sorts, offers_of_a_horde, st.integers(1, 5))
def test_the_closest_lack_least(needs: Needs, offers: list[Offer], most: int) -> None:
    candidates = [Candidate(offer, threads) for threads, offer in enumerate(offers, 1)]

    def weight(what: str, offer: Offer) -> float | None:
        return None if what == "r2" else 1.0

    def gap(candidate: Candidate) -> int:
        return len(shortfalls(needs, candidate.offer))

    possible = [
        each
        for each in candidates
        if each.offer.kind == needs.kind
        and "r2" not in {shortfall.what for shortfall in shortfalls(needs, each.offer)}
    ]
    found = closest(needs, candidates, weight, most)
    assert [gap(each) for each in found] == sorted(gap(each) for each in possible)[:most]


def test_of_equals_the_one_with_more_threads_comes_first() -> None:
    few, many = Candidate(without("lora"), 1), Candidate(without("lora", worker_id="w2"), 8)
    needs = Needs(kind="image", words=("lora",))
    assert closest(needs, [few, many], lambda what, offer: 1.0, 2) == [many, few]
    assert closest(needs, [few, many], lambda what, offer: None, 2) == []
