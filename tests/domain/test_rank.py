# SPDX-License-Identifier: AGPL-3.0-or-later
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.rank import (
    POLICIES,
    Standing,
    Tag,
    ageing,
    ageing_priority_milli,
    fair,
    finish_tag,
    start_tag,
    tags,
    weight,
)

BALANCES = st.integers(-50_000, 10**12)
COSTS = st.lists(st.integers(1, 10**10), min_size=1, max_size=20)
TIMES = st.integers(0, 10**15)


def test_policies() -> None:
    assert {"fair": fair, "ageing": ageing} == POLICIES


def test_weights() -> None:
    assert weight(500_000, flagged=True) == 0.1
    assert weight(-50_000) == 0.5
    assert weight(0) == 1.0
    assert weight(1) == pytest.approx(1, abs=1e-5)
    assert weight(1_000_000) == 2
    assert weight(1_000_000_000) == pytest.approx(10.97, abs=0.01)


@given(BALANCES, BALANCES)
def test_more_kudos_never_weigh_less(one: int, other: int) -> None:
    assert weight(min(one, other)) <= weight(max(one, other))
    assert weight(one, flagged=True) < weight(other)


@given(st.integers(1, 10**11), st.integers(1, 10**11))
def test_weight_grows_more_and_more_slowly(balance: int, step: int) -> None:
    first = weight(balance + step) - weight(balance)
    second = weight(balance + 2 * step) - weight(balance + step)
    assert second <= first + 1e-9


def test_tags_follow_one_another() -> None:
    assert start_tag(100, 40) == 100
    assert start_tag(100, 400) == 400
    assert finish_tag(100, 1000, 2.0) == 600
    assert finish_tag(100, 0, 2.0) == 101
    assert tags(100, 0, [1000, 500], 2.0) == [Tag(100, 600), Tag(600, 850)]


@given(BALANCES, st.integers(0, 10**12), TIMES, TIMES, COSTS, st.booleans())
def test_more_kudos_never_rank_later(
    balance: int, more: int, virtual_time: int, last_finish: int, costs: list[int], flagged: bool
) -> None:
    poor = Standing(
        balance_milli=balance,
        flagged=flagged,
        virtual_time=virtual_time,
        last_finish=last_finish,
    )
    rich = msgspec.structs.replace(poor, balance_milli=balance + more, flagged=False)
    pairs = zip(fair(rich, costs).ranks, fair(poor, costs).ranks, strict=True)
    assert all(first <= second for first, second in pairs)


@given(BALANCES, TIMES, TIMES, COSTS)
def test_ranks_are_ordered_and_fit_64_bits(
    balance: int, virtual_time: int, last_finish: int, costs: list[int]
) -> None:
    standing = Standing(balance_milli=balance, virtual_time=virtual_time, last_finish=last_finish)
    ranked = fair(standing, costs)
    assert len(ranked.ranks) == len(costs)
    assert list(ranked.ranks) == sorted(set(ranked.ranks))
    assert max(virtual_time, last_finish) == ranked.ranks[0]
    assert ranked.ranks[-1] < ranked.last_finish < 2**63


@given(BALANCES, BALANCES, TIMES, COSTS, COSTS)
def test_nobody_starves(
    mine: int, theirs: int, virtual_time: int, my_costs: list[int], their_costs: list[int]
) -> None:
    """A job in the queue is overtaken only by a bounded amount of another user's work.

    However much the other asks for later, what starts before my job is at most the work that
    fits, at their weight, between the virtual time and my start, and one job more.
    """
    me = fair(Standing(balance_milli=mine, virtual_time=virtual_time), my_costs)
    they = fair(Standing(balance_milli=theirs, virtual_time=virtual_time), their_costs * 10)
    my_last = me.ranks[-1]
    before = [
        cost for cost, rank in zip(their_costs * 10, they.ranks, strict=True) if rank < my_last
    ]
    bound = (my_last - virtual_time + len(before)) * weight(theirs) + max(their_costs)
    assert sum(before) <= bound


def serve(lanes: dict[str, tuple[int, list[int]]], jobs: int) -> list[str]:
    """Serves by rank and returns whose job came when; every lane asked at virtual time 0."""
    queue = sorted(
        (rank, user)
        for user, (balance, costs) in lanes.items()
        for rank in fair(Standing(balance_milli=balance), costs).ranks
    )
    return [user for _, user in queue[:jobs]]


def test_equal_users_take_turns_however_much_one_asks() -> None:
    order = serve({"many": (0, [100] * 50), "few": (0, [100] * 3)}, 6)
    assert sorted(order) == ["few"] * 3 + ["many"] * 3


def test_kudos_buy_a_larger_share() -> None:
    order = serve({"rich": (1_000_000_000, [100] * 100), "poor": (-50_000, [100] * 100)}, 69)
    assert 60 <= order.count("rich") <= 67


def test_who_was_away_is_not_owed_the_time() -> None:
    busy = fair(Standing(virtual_time=10_000, last_finish=10_500), [100])
    back = fair(Standing(virtual_time=10_000, last_finish=3), [100])
    assert (back.ranks, busy.ranks) == ((10_000,), (10_500,))


def test_a_downgraded_request_weighs_as_if_in_debt() -> None:
    rich = Standing(balance_milli=10**9, downgraded=True)
    assert fair(rich, [100]) == fair(Standing(balance_milli=0), [100])


@pytest.mark.parametrize(
    ("standing", "priority_milli"),
    [
        (Standing(balance_milli=1234), 1234),
        (Standing(balance_milli=-50_000), -50_000),
        (Standing(balance_milli=1_234_567_000, flagged=True), 1_235_000),
        (Standing(balance_milli=10_001, flagged=True), 0),
        (Standing(balance_milli=10_000, flagged=True), -100_000),
        (Standing(balance_milli=9_000_000, downgraded=True), -50_000),
    ],
)
def test_the_priority_of_the_ageing_order(standing: Standing, priority_milli: int) -> None:
    assert ageing_priority_milli(standing) == priority_milli


def test_five_kudos_are_worth_a_second_of_waiting() -> None:
    early = Standing(balance_milli=0, created_micros=10_000_000)
    late = Standing(balance_milli=5_000, created_micros=11_000_000)
    assert ageing(early, [1, 1]).ranks == ageing(late, [1, 1]).ranks == (10_000_000,) * 2


@given(BALANCES, BALANCES, TIMES, TIMES)
def test_the_ageing_order_is_priority_plus_five_a_second(
    one: int, other: int, first_micros: int, second_micros: int
) -> None:
    first = Standing(balance_milli=one, created_micros=first_micros)
    second = Standing(balance_milli=other, created_micros=second_micros)
    now = 10**15
    first_points = one * 200 + (now - first_micros)
    second_points = other * 200 + (now - second_micros)
    ranks = ageing(first, [1]).ranks[0], ageing(second, [1]).ranks[0]
    assert (ranks[0] < ranks[1]) is (first_points > second_points)
