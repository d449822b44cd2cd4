# SPDX-License-Identifier: AGPL-3.0-or-later
"""Marks say exactly how much of a request's story somebody has heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.marks import ATTEMPTS_MAX, Mark, mark, nothing, read


@st.composite
def any_mark(draw: st.DrawFn, asked: int) -> Mark:
    """A mark of a request that asked for so many jobs."""
    started = draw(st.lists(st.integers(0, ATTEMPTS_MAX), min_size=asked, max_size=asked))
    finished = [draw(st.integers(0, min(1, count))) for count in started]
    return Mark(tuple(started), tuple(finished), draw(st.booleans()))


@given(st.integers(1, 20).flatmap(lambda asked: any_mark(asked)))
def test_what_is_written_is_read_again(written: Mark) -> None:
    assert read(str(written), len(written.started)) == written
    assert read(str(written), len(written.started) + 1) is None


@given(st.text(max_size=50), st.integers(0, 20))
def test_whatever_is_sent_is_read_or_refused(text: str, asked: int) -> None:
    found = read(text, asked)
    assert found is None or len(found.started) == len(found.finished) == asked


@given(st.integers(1, 20).flatmap(lambda asked: st.tuples(any_mark(asked), any_mark(asked))))
def test_within_is_no_further_than_either(pair: tuple[Mark, Mark]) -> None:
    one, other = pair
    both = one.within(other)
    assert both == other.within(one)
    assert both.within(one) == both
    assert all(a <= b for a, b in zip(both.started, one.started, strict=True))


@pytest.mark.parametrize(
    ("taken", "ended", "text"),
    [
        ([], False, "000-000"),
        ([(1, True), (3, False), (3, False)], False, "102-100"),
        ([(1, True), (2, True), (3, False), (3, True)], True, "112-111-end"),
        ([(1, False)] * 99, False, "z00-000"),
    ],
)
def test_a_mark_counts_attempts_and_results(
    taken: list[tuple[int, bool]], ended: bool, text: str
) -> None:
    assert str(mark(3, taken, ended=ended)) == text


def test_marks_grow_step_by_step() -> None:
    heard = nothing(2).starting(2).starting(2).finishing(2).starting(1)
    assert str(heard) == "12-01"
    assert str(heard.ending()) == "12-01-end"
