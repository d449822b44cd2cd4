# SPDX-License-Identifier: AGPL-3.0-or-later
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.virtual_time import VirtualTime

STARTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10**15)), min_size=1)


@given(st.lists(st.integers(0, 10**15), min_size=1))
def test_with_one_worker_it_is_the_highest_rank_taken(ranks: list[int]) -> None:
    time = VirtualTime()
    for rank in ranks:
        time.started("the only one", rank)
    assert time.now == max(ranks)


@given(STARTS)
def test_it_is_the_median_of_what_workers_took_last_and_never_goes_back(
    starts: list[tuple[int, int]],
) -> None:
    time = VirtualTime(7)
    last: dict[int, int] = {}
    expected = 7
    for worker, rank in starts:
        time.started(worker, rank)
        last[worker] = rank
        ordered = sorted(last.values())
        expected = max(expected, ordered[len(ordered) // 2])
        assert time.now == expected


def test_a_worker_far_ahead_moves_nobody_else() -> None:
    time = VirtualTime()
    for worker, rank in (("one", 100), ("two", 110), ("specialist", 1_000_000)):
        time.started(worker, rank)
    assert time.now == 110
    time.started("specialist", 9_000_000)
    assert time.now == 110


def test_who_has_gone_does_not_count() -> None:
    time = VirtualTime()
    for worker in range(3):
        time.started(worker, 10)
    for worker in range(3):
        time.gone(worker)
    time.gone("never seen")
    assert time.now == 10
    time.started("another", 50)
    assert time.now == 50
