# SPDX-License-Identifier: AGPL-3.0-or-later
"""The directory of lanes says just what a look at all of them would say."""

from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.actions.heads import ORDERS_MERGED_MAX
from openhorde.server.actions.lanes import UNHEARD_MAX, Fitting, Lanes
from openhorde.server.domain.matching import fits
from openhorde.server.domain.needs import Needs, Offer

MODELS = [f"model {number}" for number in range(12)]
MANY_MODELS = [*MODELS, *(f"other model {number}" for number in range(2 * ORDERS_MERGED_MAX))]


def needs_of(number: int) -> Needs:
    """Different for each number below 96."""
    return Needs(
        kind="image", sizes=(("pixels", 64 * (1 + number // 12)),), models=(MODELS[number % 12],)
    )


def varied_needs_of(number: int) -> Needs:
    """By dozens, requests name one model, two, none, all."""
    count = (1, 2, 0, len(MODELS))[number // 12 % 4]
    models = sorted({MODELS[(number + step) % 12] for step in range(count)})
    return Needs(kind="image", sizes=(("pixels", 64 * (1 + number // 12)),), models=tuple(models))


lane_numbers = st.integers(1, 95)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("joined"), lane_numbers, st.integers(0, 50)),
        st.tuples(st.just("looked"), lane_numbers, st.none() | st.integers(0, 50)),
    ),
    max_size=120,
)
offers = st.builds(
    lambda models, pixels_max: Offer(
        kind="image", models=frozenset(models), sizes_max={"pixels": 64 * pixels_max}
    ),
    st.lists(st.sampled_from(MODELS), max_size=12) | st.just(MANY_MODELS),
    st.integers(0, 8),
)


@given(happenings, offers, st.integers(1, 20), st.booleans())
def test_the_best_lanes_are_those_of_a_full_search(
    happened: list[tuple[str, int, int | None]], offer: Offer, count: int, later: bool
) -> None:
    lanes, heads = Lanes(), dict[int, int]()
    fitting = Fitting(offer)
    lanes.learn({number: varied_needs_of(number) for number in range(1, 50 if later else 96)})
    lanes.fitting(fitting)
    lanes.learn({number: varied_needs_of(number) for number in range(1, 96)})
    for what, lane, rank in happened:
        if what == "joined":
            assert rank is not None
            lanes.joined(lane, rank)
            heads[lane] = min(rank, heads.get(lane, rank))
        else:
            lanes.looked([lane], {} if rank is None else {lane: rank}, began=float("inf"))
            heads.pop(lane, None)
            if rank is not None:
                heads[lane] = rank
    expected = sorted(
        (rank, lane) for lane, rank in heads.items() if fits(varied_needs_of(lane), offer)
    )
    found = lanes.best(fitting, count)
    assert [heads[lane] for lane in found] == [rank for rank, _ in expected[:count]]
    assert set(found) <= {lane for _, lane in expected}
    assert sorted(lanes.live()) == sorted(heads)


def test_the_best_are_found_in_front_behind_many_others_and_among_many_models() -> None:
    lanes = Lanes()
    lanes.learn({number: needs_of(number) for number in range(96)})
    for number in range(96):
        lanes.joined(number, 1000 - number)
    few_models, many_models = frozenset(MODELS[:1]), frozenset(MANY_MODELS)
    for models, pixels, expected in (
        (few_models, 64, [0]),
        (few_models, 10_000, [84, 72, 60]),
        (many_models, 64, [11, 10, 9]),
        (many_models, 10_000, [95, 94, 93]),
    ):
        offer = Offer(kind="image", models=models, sizes_max={"pixels": pixels})
        assert lanes.best(Fitting(offer), 3) == expected


def test_what_joins_while_the_database_is_asked_is_not_lost() -> None:
    lanes = Lanes()
    lanes.learn({1: needs_of(1), 2: needs_of(2)})
    lanes.joined(1, 7)
    lanes.looked([1], {}, began=0.0)
    assert lanes.live() == [1]
    lanes.looked([1], {}, began=float("inf"))
    assert lanes.live() == []


def test_an_answer_that_comes_late_does_not_count() -> None:
    lanes = Lanes()
    lanes.learn({1: needs_of(1), 2: needs_of(2)})
    lanes.looked([1, 2], {1: 7}, began=2.0)
    lanes.looked([1, 2], {2: 7}, began=1.0)
    assert lanes.live() == [1]


def test_a_lane_that_jobs_join_unknown_is_told_once() -> None:
    lanes = Lanes()
    lanes.learn({1: needs_of(1)})
    for lane in (1, 2, 3, 3):
        lanes.joined(lane, 5)
    lanes.learn({3: needs_of(3)})
    assert lanes.unheard() == {2}
    assert lanes.unheard() == set()
    for lane in range(10, 10 + UNHEARD_MAX + 1):
        lanes.joined(lane, 5)
    assert not lanes.unheard()
    assert lanes.has_gaps


def test_empty_lanes_are_forgotten_when_there_are_too_many() -> None:
    lanes = Lanes()
    fitting = Fitting(Offer(kind="image", models=frozenset({"a"})))
    lanes.learn({1: Needs(kind="image", models=("a",))})
    lanes.numbered(Needs(kind="image", models=("a",)), 1)
    lanes.joined(1, 5)
    assert not lanes.has_gaps
    lanes.learn({number: Needs(kind="image", models=("b",)) for number in range(2, 40_000)})
    lanes.learn({50_000: Needs(kind="image", models=("b",))})
    assert 1 in lanes
    assert 2 not in lanes
    assert 50_000 in lanes
    assert lanes.has_gaps
    assert lanes.best(fitting, 1) == [1]
    assert lanes.number(Needs(kind="image", models=("a",)).signature()) == 1
