# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which job an engine takes next, and how many must lie ready."""

import dataclasses
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.bell import Bell
from openhorde.worker.agent.desk import Desk
from openhorde.worker.agent.pace import AHEAD_MAX, Pace
from openhorde.worker.settings import KindName


def job(name: str, model: str, *, age_seconds: float = 0.0) -> Assignment:
    return Assignment(
        kind="image",
        ids=[name],
        uploads=[None],
        model=model,
        ttl_seconds=100.0,
        popped_at=time.monotonic() - age_seconds,
    )


def laid(*jobs: Assignment) -> Desk:
    desk = Desk(Bell())
    for one in jobs:
        desk.put(one)
    return desk


def everything(assignment: Assignment) -> bool:
    return True


def test_jobs_are_taken_in_their_order_by_who_can_do_them() -> None:
    desk = laid(job("1", "a"), job("2", "b"), job("3", "a"))
    taken = [desk.take(lambda one: one.model == "b"), desk.take(everything), desk.take(everything)]
    assert [one.ids[0] for one in taken if one is not None] == ["2", "1", "3"]
    assert desk.take(everything) is None


def test_a_warm_model_goes_before_while_the_first_can_wait() -> None:
    fresh = laid(job("1", "a"), job("2", "b")).take(everything, "b")
    assert fresh is not None
    assert fresh.ids == ["2"]
    pressing = laid(job("1", "a", age_seconds=30), job("2", "b")).take(everything, "b")
    assert pressing is not None
    assert pressing.ids == ["1"]


def test_a_closed_desk_is_over_for_whom_nothing_is_left() -> None:
    desk = laid(job("1", "a"))
    assert not desk.over(everything)
    desk.close()
    assert not desk.over(everything)
    assert desk.over(lambda one: one.model == "b")
    assert [one.ids for one in desk.clear()] == [["1"]]
    assert desk.over(everything)


def test_quick_jobs_are_fetched_in_numbers_and_slow_ones_are_not() -> None:
    pace = Pace()
    assert pace.ahead(1) == 0
    pace.called(25.0)
    pace.called(0.2)
    assert pace.ahead(1) == 0
    pace.ran(0.05)
    assert (pace.ahead(1), pace.ahead(2)) == (4, 8)
    assert pace.ahead(100) == AHEAD_MAX
    pace.ran(0.05, waited_seconds=0.3)
    assert pace.ahead(1) == 4
    pace.ran(0.05, waited_seconds=5.0)
    assert pace.ahead(1) == 0
    slow = Pace()
    slow.called(0.2)
    slow.ran(10.0)
    assert slow.ahead(4) == 1


KINDS: list[KindName] = ["image", "alchemy", "text"]


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(KINDS), st.sampled_from("ab")),
            st.sampled_from(["take a", "take b"]),
        ),
        max_size=60,
    )
)
def test_what_is_first_of_its_kind_starts_within_one_job_of_each_kind(
    steps: list[Any],
) -> None:
    desk = Desk(Bell())
    lying: list[Assignment] = []
    since_first: dict[str, list[KindName]] = {}
    """Of what is first of its kind: the kinds of the jobs taken since."""
    for number, step in enumerate(steps):
        if isinstance(step, tuple):
            put = dataclasses.replace(job(str(number), step[1]), kind=step[0])
            desk.put(put)
            lying.append(put)
        else:
            taken = desk.take(everything, step[-1])
            if taken is None:
                assert not lying
                continue
            lying.remove(taken)
            since = since_first.pop(taken.ids[0], [])
            for kinds in since_first.values():
                kinds.append(taken.kind)
            assert all(since.count(kind) <= 1 for kind in KINDS), since
        for kind in KINDS:
            first = next((one for one in lying if one.kind == kind), None)
            if first is not None:
                since_first.setdefault(first.ids[0], [])


def test_a_job_that_was_overtaken_is_next_whatever_is_at_hand() -> None:
    desk = laid(job("1", "a"), job("2", "b"), job("3", "b"), job("4", "b"))
    order = [desk.take(everything, "b") for _ in range(4)]
    assert [one.ids[0] for one in order if one is not None] == ["2", "1", "3", "4"]
