# SPDX-License-Identifier: AGPL-3.0-or-later
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openhorde.server.domain.lives import (
    FAULTS_MAX,
    FINAL,
    LIVES_MAX,
    MOVES,
    PROLONGED_SHARE,
    STRIDE_SHARE,
    Event,
    Faults,
    Progress,
    RequestCounts,
    State,
    check,
    is_done,
    is_faulted,
    move,
    prolonged,
    requeues,
    wait_seconds,
)
from openhorde.server.domain.refusals import Refusal

REFUSED = [pair for pair in product(State, Event) if pair not in MOVES]


def test_final_states() -> None:
    assert {State.DONE, State.FAULTED, State.CANCELLED, State.EXPIRED} == FINAL
    assert FAULTS_MAX == 3


@given(st.lists(st.sampled_from(Event), max_size=8))
def test_nothing_moves_out_of_a_final_state(events: list[Event]) -> None:
    state = State.WAITING
    for event in events:
        if state in FINAL or (state, event) not in MOVES:
            with pytest.raises(Refusal):
                move(state, event)
        else:
            state = move(state, event)


@pytest.mark.parametrize(("state", "event"), REFUSED)
def test_refused_moves_say_why(state: State, event: Event) -> None:
    with pytest.raises(Refusal) as caught:
        move(state, event)
    codes = {
        State.DONE: "DuplicateGen",
        State.WAITING: "InvalidJobID",
        State.RUNNING: "InvalidJobID",
    }
    assert caught.value.code == codes.get(state, "AbortedGen")


class RequestLife(RuleBasedStateMachine):
    """One request's jobs under any order of events."""

    @initialize(asked=st.integers(1, 20))
    def begin(self, asked: int) -> None:
        self.asked = asked
        self.wanted = True
        self.jobs = [State.WAITING] * asked

    def counts(self) -> RequestCounts:
        return RequestCounts(
            asked=self.asked,
            waiting=self.jobs.count(State.WAITING),
            running=self.jobs.count(State.RUNNING),
            done=self.jobs.count(State.DONE),
            faulted=self.jobs.count(State.FAULTED),
        )

    def step(self, before: State, event: Event) -> None:
        self.jobs[self.jobs.index(before)] = move(before, event)

    @precondition(lambda self: State.WAITING in self.jobs)
    @rule()
    def pop(self) -> None:
        self.step(State.WAITING, Event.POP)

    @precondition(lambda self: State.RUNNING in self.jobs)
    @rule()
    def deliver(self) -> None:
        self.step(State.RUNNING, Event.DELIVER)

    @precondition(lambda self: State.RUNNING in self.jobs)
    @rule()
    def fault(self) -> None:
        self.step(State.RUNNING, Event.FAULT)
        if requeues(self.counts().faulted, wanted=self.wanted):
            self.jobs.append(State.WAITING)

    @rule()
    def cancel(self) -> None:
        self.asked = self.jobs.count(State.DONE)
        self.wanted = False
        while State.WAITING in self.jobs:
            self.step(State.WAITING, Event.CANCEL)

    @invariant()
    def counts_agree(self) -> None:
        counts = self.counts()
        seen = check(counts)
        assert seen.finished == counts.done
        assert seen.restarted == counts.faulted
        assert seen.waiting <= counts.waiting
        assert counts.done <= len(self.jobs) - counts.faulted
        if not is_faulted(counts):
            ended = State.WAITING not in self.jobs and State.RUNNING not in self.jobs
            assert seen.done is ended
            if ended:
                assert counts.done >= self.asked
            assert counts.waiting + counts.running + counts.done >= self.asked
        assert self.jobs.count(State.WAITING) + self.jobs.count(State.RUNNING) <= 20


TestRequestLife = RequestLife.TestCase


def test_progress_of_a_request_at_work() -> None:
    counts = RequestCounts(asked=10, waiting=4, running=3, done=3, faulted=1)
    assert check(counts) == Progress(3, 3, 1, 4, done=False, faulted=False)


def test_waiting_is_never_more_than_what_is_left() -> None:
    assert check(RequestCounts(asked=5, waiting=4, running=2, done=2)).waiting == 1
    assert check(RequestCounts(asked=2, waiting=-1, running=2)).waiting == 0
    assert check(RequestCounts(asked=1, waiting=0, running=2)).waiting == 0


def test_done_and_faulted() -> None:
    assert is_done(RequestCounts(asked=2, done=2))
    assert not is_done(RequestCounts(asked=2, done=1, running=1))
    assert not is_done(RequestCounts(asked=1, running=1, faulted=2))
    assert is_done(RequestCounts(asked=9, waiting=5, faulted=3))
    assert is_faulted(RequestCounts(asked=9, faulted=3))
    assert not is_faulted(RequestCounts(asked=9, faulted=2))


def test_a_faulted_job_is_tried_again_twice() -> None:
    assert [requeues(faults) for faults in (1, 2, 3)] == [True, True, False]
    assert [requeues(faults, Faults(4, apart=True)) for faults in (3, 4)] == [True, False]


def test_what_nobody_wants_or_is_at_fault_itself_is_not_tried_again() -> None:
    assert not requeues(1, wanted=False)
    assert not requeues(1, of_request=True)


def waits(**changes: float) -> int:
    facts: dict[str, Any] = {
        "things_ahead": 100_000_000,
        "mean_speed": 1_000_000.0,
        "active_threads": 5,
        "jobs_ahead": 10,
        "remaining_running_seconds": 0.0,
        "divisor": 1_000_000,
    }
    return wait_seconds(**(facts | changes))


def test_waiting_times() -> None:
    assert waits() == 20
    assert waits(jobs_ahead=2) == 50
    assert waits(remaining_running_seconds=7.4) == 27
    assert waits(active_threads=0) == 100
    assert waits(things_ahead=0, jobs_ahead=0, remaining_running_seconds=3.0) == 3
    assert waits(things_ahead=400, mean_speed=8.0, active_threads=1, divisor=1) == 50


@given(
    life_seconds=st.integers(1, 100_000),
    lives_at_first=st.sampled_from((1, 3, LIVES_MAX, 12)),
    pauses=st.lists(st.floats(0, 1.5), max_size=100),
)
def test_a_deadline_is_put_off_within_bounds(
    life_seconds: int, lives_at_first: int, pauses: list[float]
) -> None:
    life = timedelta(seconds=life_seconds)
    now = popped_at = datetime(2026, 1, 1, tzinfo=UTC)
    deadline_at = first = popped_at + lives_at_first * life
    strides = 0
    for pause in pauses:
        now += pause * life
        later = prolonged(
            popped_at=popped_at, deadline_at=deadline_at, life_seconds=life_seconds, now=now
        )
        if later is None:
            continue
        assert now < deadline_at, "what is over stays over"
        assert later - deadline_at >= STRIDE_SHARE * life
        assert later <= min(now + PROLONGED_SHARE * life, popped_at + LIVES_MAX * life)
        deadline_at = later
        strides += 1
    assert deadline_at <= max(first, popped_at + LIVES_MAX * life)
    assert strides <= LIVES_MAX / STRIDE_SHARE
