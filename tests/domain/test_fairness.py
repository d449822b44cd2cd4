# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the order `fair` promises to users whose requests have the same needs.

Work is counted in tags: a job's cost divided by its user's weight, as the rank policy rounds it.
"""

from itertools import pairwise

from domain.playing_queue import Job, PlayingQueue
from hypothesis import given, settings
from hypothesis import strategies as st

from openhorde.server.domain.rank import Standing, fair, weight

BALANCES = st.integers(-50_000, 10**10)
COSTS = st.lists(st.integers(10**6, 4 * 10**6), min_size=1, max_size=4)
WORKERS = st.lists(st.integers(0, 3), min_size=1, max_size=60)
WORK = st.lists(st.integers(10**6, 4 * 10**6), min_size=1, max_size=2)
Work = list[int]
Groups = list[Work]
GROUPS = st.lists(COSTS, min_size=1, max_size=4)


def served_between(jobs: list[Job], user: int) -> int:
    return sum(job.span for job in jobs if job.user == user)


@settings(max_examples=50, deadline=None)
@given(BALANCES, BALANCES, BALANCES, GROUPS, GROUPS, GROUPS, WORKERS)
def test_two_who_wait_are_served_alike(
    mine: int,
    theirs: int,
    third: int,
    my_groups: Groups,
    their_groups: Groups,
    third_groups: Groups,
    workers: list[int],
) -> None:
    """Theorem 1 of Goyal, Vin and Cheng (1996).

    For any interval in which flows f and m are both backlogged, the work served of them, each
    divided by its weight, differs by at most l_f / w_f + l_m / w_m, where l is a flow's longest
    job. It holds whatever the server's speed and whatever others ask for. Here for several
    workers that fit the same jobs, work being counted when it is taken.
    """
    queue = PlayingQueue({1: mine, 2: theirs, 3: third})
    for user, groups in ((1, my_groups), (2, their_groups)):
        for costs in groups:
            queue.submit(user, costs)
    later = list(third_groups)
    left = {1: sum(map(len, my_groups)), 2: sum(map(len, their_groups))}
    order: list[Job] = []
    for step in range(2_000):
        if later and step % 3 == 0:
            queue.submit(3, later.pop())
        job = queue.take(workers[step % len(workers)])
        order.append(job)
        if job.user in left:
            left[job.user] -= 1
        if not all(left.values()):
            break
    bound = sum(
        max(job.span for job in queue.taken + queue.waiting if job.user == user) for user in (1, 2)
    )
    for begin in range(len(order)):
        difference = 0
        for job in order[begin:]:
            difference += {1: job.span, 2: -job.span}.get(job.user, 0)
            assert abs(difference) <= bound


@settings(max_examples=50, deadline=None)
@given(BALANCES, BALANCES, st.integers(0, 40), WORK)
def test_who_comes_later_is_owed_nothing(mine: int, theirs: int, served: int, work: Work) -> None:
    """The same bound from the moment when the other comes, however long it was away."""
    queue = PlayingQueue({1: mine, 2: theirs})
    queue.submit(1, work * 60)
    for _ in range(served):
        queue.take()
    queue.submit(2, work * 60)
    spans = {job.user: 0 for job in queue.waiting}
    longest = {user: max(job.span for job in queue.waiting if job.user == user) for user in spans}
    while all(any(job.user == user for job in queue.waiting) for user in spans):
        job = queue.take()
        spans[job.user] += job.span
        assert abs(spans[1] - spans[2]) <= sum(longest.values())


@settings(max_examples=50, deadline=None)
@given(BALANCES, BALANCES, GROUPS, COSTS, GROUPS, WORKERS)
def test_nobody_starves(
    mine: int,
    theirs: int,
    before: Groups,
    my_costs: list[int],
    flood: Groups,
    workers: list[int],
) -> None:
    """However much another asks for before and after, what of it is served before a job of mine is
    at most what fits, at its weight, between now and my job's start, and one job. And my start
    lies no further off than my own work that waits and one job of mine."""
    queue = PlayingQueue({1: mine, 2: theirs})
    for costs in before:
        queue.submit(2, costs)
        queue.take(workers[0])
    now, waited = queue.virtual_time(), [job for job in queue.waiting if job.user == 1]
    my_last = queue.submit(1, my_costs)[-1]
    own = sum(job.span for job in queue.waiting if job.user == 1 and job != my_last)
    assert not waited
    assert my_last.rank <= now + own
    theirs_before = 0
    longest = 0
    for step in range(2_000):
        for costs in flood:
            if len(queue.waiting) < 60:
                queue.submit(2, costs)
        job = queue.take(workers[step % len(workers)])
        if job == my_last:
            break
        if job.user == 2:
            theirs_before += job.span
            longest = max(longest, job.span)
    else:
        raise AssertionError("never served")
    assert theirs_before <= my_last.rank - now + longest


@settings(max_examples=50, deadline=None)
@given(BALANCES, BALANCES, COSTS, WORKERS, st.integers(1, 20))
def test_who_always_asks_again_takes_no_more_than_a_share(
    mine: int, theirs: int, costs: list[int], workers: list[int], turns: int
) -> None:
    """One asks again whenever a job is taken, the other for all at once: it is the same."""
    queue = PlayingQueue({1: mine, 2: theirs})
    queue.submit(1, costs * 20)
    spans = [queue.submit(2, [costs[0]])[0].span]
    mine_done = theirs_done = 0
    for step in range(turns * len(costs)):
        job = queue.take(workers[step % len(workers)])
        if job.user == 2:
            theirs_done += job.span
            spans.append(queue.submit(2, [costs[step % len(costs)]])[0].span)
        else:
            mine_done += job.span
    longest = max(job.span for job in queue.taken + queue.waiting if job.user == 1)
    assert abs(mine_done - theirs_done) <= longest + max(spans)


@settings(max_examples=50, deadline=None)
@given(BALANCES, st.integers(0, 10**10), BALANCES, GROUPS, GROUPS)
def test_more_kudos_never_wait_longer(
    balance: int, more: int, theirs: int, my_groups: Groups, their_groups: Groups
) -> None:
    """All that waits when service begins: with more kudos, no job of mine comes later, nor does
    more of the others' work come before it."""

    def before_each(my_balance: int) -> list[int]:
        queue = PlayingQueue({1: my_balance, 2: theirs})
        for costs in their_groups:
            queue.submit(2, costs)
        for costs in my_groups:
            queue.submit(1, costs)
        found, others = [], 0
        while queue.waiting:
            job = queue.take()
            if job.user == 1:
                found.append(others)
            else:
                others += job.span
        return found

    pairs = zip(before_each(balance + more), before_each(balance), strict=True)
    assert all(rich <= poor for rich, poor in pairs)


@given(BALANCES, st.integers(0, 10**12), st.integers(0, 10**12), COSTS, st.data())
def test_splitting_into_requests_gains_nothing(
    balance: int, virtual_time: int, last_finish: int, costs: list[int], data: st.DataObject
) -> None:
    """The same jobs in any grouping get the same places, to the last tag."""
    standing = Standing(balance_milli=balance, virtual_time=virtual_time, last_finish=last_finish)
    together = fair(standing, costs)
    cuts = data.draw(st.lists(st.integers(0, len(costs)), max_size=4))
    ranks: list[int] = []
    finish = last_finish
    for begin, end in pairwise([0, *sorted(cuts), len(costs)]):
        part = Standing(balance_milli=balance, virtual_time=virtual_time, last_finish=finish)
        ranked = fair(part, costs[begin:end])
        ranks += ranked.ranks
        finish = ranked.last_finish
    assert tuple(ranks) == together.ranks
    assert finish == together.last_finish


def test_splitting_into_accounts_gains_what_an_empty_account_weighs() -> None:
    """It cannot tell people from accounts: two empty accounts weigh as much as one with a thousand
    kudos. What is held against it are the price of an account and the limit of each address."""
    assert weight(0) + weight(0) == weight(1_000_000)
    queue = PlayingQueue({1: 0, 2: 0, 3: 0})
    for user in (1, 2, 3):
        queue.submit(user, [1_000_000] * 20)
    order = [queue.take().user for _ in range(30)]
    assert (order.count(1), order.count(2) + order.count(3)) == (10, 20)
