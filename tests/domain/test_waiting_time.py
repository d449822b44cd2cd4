# SPDX-License-Identifier: AGPL-3.0-or-later
import heapq
from random import Random
from statistics import median, quantiles

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.crew import members
from openhorde.server.domain.waiting_time import SETS_APART_MAX, Eta, Hand, Team, eta, pour

things = st.integers(1, 10**8)
loads = st.floats(0, 1e10)
hands = st.builds(
    lambda threads, speed, busy, seconds: Hand(threads, speed, min(busy, threads), seconds),
    st.integers(1, 4),
    st.floats(1e4, 1e7),
    st.integers(0, 4),
    st.floats(0, 1e4),
)
teams = st.lists(hands, min_size=1, max_size=8)


def wait(
    team: list[Hand],
    ahead: float,
    *,
    share: float = 1.0,
    jobs: int = 1,
    each: int = 10**6,
    typical: float = 1e6,
) -> Eta:
    before = pour([((1 << len(team)) - 1, ahead * share)], team)
    made = Team(zip(team, before, strict=True))
    return eta(made, jobs=jobs, things_each=each, things_typical=typical)


@given(teams, loads, st.floats(0, 1), st.integers(1, 20), things, st.floats(0, 1e8))
def test_p90_is_never_below_p50_nor_either_below_the_work_itself(
    team: list[Hand], ahead: float, share: float, jobs: int, each: int, typical: float
) -> None:
    found = wait(team, ahead, share=share, jobs=jobs, each=each, typical=typical)
    assert found.p90_seconds >= found.p50_seconds
    assert found.p50_seconds >= each / max(hand.speed for hand in team)


@given(
    teams, loads, loads, st.floats(0, 1), st.floats(0, 1), st.integers(1, 20), st.integers(1, 20)
)
def test_more_work_ahead_never_shortens_the_wait(
    team: list[Hand],
    ahead: float,
    more: float,
    share: float,
    other_share: float,
    jobs: int,
    other_jobs: int,
) -> None:
    less = wait(team, ahead, share=min(share, other_share), jobs=min(jobs, other_jobs))
    longer = wait(team, ahead + more, share=max(share, other_share), jobs=max(jobs, other_jobs))
    slack = 1 + 1e-9
    assert less.p50_seconds <= longer.p50_seconds * slack
    assert less.p90_seconds <= longer.p90_seconds * slack


@given(hands, loads, st.floats(0, 1e4))
def test_a_busier_worker_never_shortens_the_wait(hand: Hand, ahead: float, seconds: float) -> None:
    busier = msgspec.structs.replace(hand, busy_seconds=hand.busy_seconds + seconds)
    slack = 1 + 1e-9
    assert wait([hand], ahead).p50_seconds <= wait([busier], ahead).p50_seconds * slack
    assert wait([hand], ahead).p90_seconds <= wait([busier], ahead).p90_seconds * slack


@given(teams, st.lists(st.floats(0, 1e9), min_size=2, max_size=5))
def test_work_is_done_at_the_speed_of_those_who_are_free(
    team: list[Hand], amounts: list[float]
) -> None:
    made = Team((hand, 0.0) for hand in team)
    for amount in amounts:
        until = made.seconds_until_done(amount)
        done = sum(
            hand.speed
            * ((hand.threads - hand.busy) * until + hand.busy * max(0.0, until - hand.busy_seconds))
            for hand in team
        )
        assert done == pytest.approx(amount, rel=1e-6, abs=1e-3 * amounts[0] + 1e-3)


def test_an_idle_worker_starts_at_once_and_a_busy_one_when_it_is_free() -> None:
    idle, busy = Hand(1, 1e6), Hand(1, 1e6, busy=1, busy_seconds=7.0)
    assert wait([idle, busy], 0.0) == Eta(1.0, 1.0)
    assert wait([busy], 0.0).p50_seconds == 8.0
    assert wait([idle, busy], 7e6).p50_seconds == 8.0
    assert wait([idle, busy], 9e6).p50_seconds == 9.0
    assert wait([idle, idle], 0.0, jobs=3).p50_seconds == 2.0


def test_p90_counts_on_a_slow_worker() -> None:
    team = [Hand(1, 1e6), Hand(1, 2e6), Hand(1, 4e6)]
    assert wait(team, 0.0, each=4 * 10**6) == Eta(1.0, 4.0)


def test_p90_counts_on_a_longer_way_to_the_front() -> None:
    few_large = wait([Hand(1, 1e6)], 1e8, typical=5e7)
    many_small = wait([Hand(1, 1e6)], 1e8, typical=1e5)
    assert few_large.p50_seconds == many_small.p50_seconds == 101.0
    assert few_large.p90_seconds > many_small.p90_seconds > 101.0


def test_a_team_is_never_empty() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Team([])


crew_of_four = st.lists(hands, min_size=4, max_size=4)
lanes_of_four = st.lists(st.tuples(st.integers(0, 15), st.floats(0, 1e9)), max_size=10)


@given(lanes_of_four, crew_of_four)
def test_all_that_somebody_fits_is_poured_out_and_only_over_those_who_fit(
    lanes: list[tuple[int, float]], crew: list[Hand]
) -> None:
    loads = pour(lanes, crew)
    wanted = sum(load for fitting, load in lanes if fitting)
    # A part of a thing is lost where it is poured onto hours of work: there is none smaller.
    assert sum(loads) == pytest.approx(wanted, abs=0.01)
    anybody = 0
    for fitting, load in lanes:
        anybody |= fitting if load else 0
    idle = [load for place, load in enumerate(loads) if not anybody >> place & 1]
    assert not any(idle)


def test_work_of_others_counts_only_so_far_as_they_share_workers() -> None:
    crew = [Hand(1, 1e6), Hand(1, 3e6)]
    assert pour([(0b11, 8e6), (0b10, 5e6), (0, 9e9)], crew) == [3.25e6, 9.75e6]
    assert pour([(0b01, 6e6), (0b11, 9e6), (0b10, 3e6)], crew) == [6e6, 12e6]


def test_so_many_different_lanes_are_poured_together_that_it_stays_quick() -> None:
    crew = [Hand(1, 1e6) for _ in range(10)]
    lanes = [(fitting, float(fitting)) for fitting in range(1, 1024)]
    loads = pour(lanes, crew)
    assert len(lanes) > SETS_APART_MAX
    assert sum(loads) == pytest.approx(sum(load for _, load in lanes))


def simulated(
    random: Random,
    crew: list[Hand],
    waiting: list[tuple[int, float]],
    own: tuple[int, float],
) -> float:
    """Seconds until the own job, last in the queue, is done: each thread that gets free takes the
    first job that it fits. Jobs vary by a quarter."""
    queue = [*waiting, own]
    free: list[tuple[float, float, int]] = []
    for place, hand in enumerate(crew):
        for thread in range(hand.threads):
            seconds = random.uniform(0, 2 * hand.busy_seconds) if thread < hand.busy else 0.0
            free.append((seconds, random.random(), place))
    heapq.heapify(free)
    while True:
        now, _, place = heapq.heappop(free)
        job = next((job for job in queue if job[0] >> place & 1), None)
        if job is None:
            continue
        done = now + job[1] * random.uniform(0.75, 1.25) / crew[place].speed
        if job is own:
            return done
        queue.remove(job)
        heapq.heappush(free, (done, random.random(), place))


FACTOR = 1.5


@pytest.mark.parametrize("seed", range(10))
def test_the_estimate_agrees_with_a_simulation(seed: int) -> None:
    random = Random(seed)
    crew = [
        Hand(random.randint(1, 2), random.uniform(0.5e6, 4e6), 1, random.uniform(1, 10))
        for _ in range(8)
    ]
    sets = [random.randint(1, 255) for _ in range(6)]
    waiting = [
        (random.choice(sets), random.uniform(5e6, 2e7)) for _ in range(random.choice((0, 10, 60)))
    ]
    own = (0b11111111 if seed % 2 else random.choice(sets), 1e7)
    pairs = list(zip(crew, pour(waiting, crew), strict=True))
    team = Team(members(own[0], pairs))
    typical = sum(load for _, load in waiting) / max(1, len(waiting))
    told = eta(team, jobs=1, things_each=10**7, things_typical=typical)
    seen = [simulated(random, crew, waiting, own) for _ in range(30)]
    assert median(seen) / FACTOR < told.p50_seconds < median(seen) * FACTOR
    assert quantiles(seen, n=10)[-1] / FACTOR < told.p90_seconds < max(seen) * 2 * FACTOR
