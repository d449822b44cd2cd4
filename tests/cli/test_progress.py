# SPDX-License-Identifier: AGPL-3.0-or-later
"""The progress bar on a terminal and off it."""

from dataclasses import replace
from io import StringIO

import msgspec
import pytest
from client.playing_horde import DONE, DRAWING, WAITING, check
from rich.console import Console

from openhorde.cli.progress import RequestProgress, describe, steps_text, together
from openhorde.cli.screen import about_text, duration_text, kudos_text
from openhorde.cli.voice import Voice
from openhorde.client import Drawing, Look
from openhorde.client.looks import View
from openhorde.wire.requests import RequestCheck


def looked(answer: dict[str, object]) -> Look:
    return View().checked(msgspec.convert(answer, RequestCheck))


def drawn(*steps: int, finished: int = 0, position: int = 0) -> Look:
    """Jobs of 20 steps, so many of them done, each on a machine of its own."""
    drawings = tuple(
        Drawing(id=str(index), worker_name=f"machine {index}", model="m", step=step, steps=20)
        for index, step in enumerate(steps)
    )
    return Look(
        queue_position=position,
        wait_seconds=9,
        processing=len(steps),
        finished=finished,
        drawings=drawings,
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_it_draws_anywhere(terminal: bool) -> None:
    console = Console(file=StringIO(), force_terminal=terminal, width=120)
    progress = RequestProgress(console, 1)
    with progress.on_screen():
        for answer in (WAITING, DRAWING, DONE):
            progress.show(looked(answer))
    assert isinstance(console.file, StringIO)
    assert "1 of 1 finished" in console.file.getvalue()


def test_steps_are_shown_on_a_terminal() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=120)
    progress = RequestProgress(console, 1)
    with progress.on_screen():
        progress.show(drawn(5))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert "drawing by machine 0, 0 of 1 finished, step 5 of 20" in shown
    assert progress.share == 0.25


def test_steps_do_not_become_lines() -> None:
    console = Console(file=StringIO(), width=120)
    progress = RequestProgress(console, 3)
    for step in range(1, 20):
        progress.show(drawn(step))
    progress.show(drawn(20, 10, finished=1))
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue().splitlines() == [
        "drawing by machine 0, 0 of 3 finished",
        "drawing 2 at once, 1 of 3 finished",
    ]
    assert progress.share == pytest.approx((1 + 1 + 0.5) / 3)


def test_the_bar_begins_anew_when_the_drawing_does() -> None:
    now = iter([0.0, 9.0, 10.0])
    progress = RequestProgress(Console(file=StringIO()), 1, clock=lambda: next(now))
    progress.show(looked(check(wait_time=1)))
    assert progress.share == 0.9
    progress.show(drawn(2))
    assert progress.share == 0.1


def test_several_jobs_are_counted_together() -> None:
    assert steps_text(drawn(3, 4), 2) == ", step 7 of 40"
    assert steps_text(looked(DRAWING), 2) == ""


def test_a_job_that_failed_counts_no_more_once_another_has_its_place() -> None:
    assert steps_text(drawn(19, 4), 1) == ", step 4 of 20"
    assert describe(drawn(19, 4), 1) == "drawing by machine 1, 0 of 1 finished"
    assert steps_text(drawn(19, 4, finished=1), 1) == ""


def test_it_knows_where_the_time_went() -> None:
    now = iter([0.0, 1.0, 3.0, 10.0])
    progress = RequestProgress(Console(file=StringIO()), 1, clock=lambda: next(now))
    for answer in (WAITING, DRAWING, DONE):
        progress.show(looked(answer))
    assert progress.times() == {"queue": 3.0, "drawing": 7.0}


def test_a_request_done_at_the_first_look_was_all_drawing() -> None:
    now = iter([0.0, 2.0])
    progress = RequestProgress(Console(file=StringIO()), 1, clock=lambda: next(now))
    progress.show(looked(DONE))
    assert progress.times() == {"queue": 2.0, "drawing": 0.0}


def test_several_requests_are_shown_as_one() -> None:
    waiting = Look(queue_position=4, wait_seconds=20)
    done = Look(finished=1, done=True)
    faulted = Look(finished=1, done=True, faulted=True)
    ended = Look(finished=1)
    assert describe(together([waiting, drawn(3)]), 2) == ("drawing by machine 0, 0 of 2 finished")
    assert describe(together([waiting, done, faulted]), 3) == (
        "place 4 in the queue, 2 of 3 finished, about 20 s to go"
    )
    assert describe(together([ended, done]), 2) == "2 of 2 finished"
    assert not together([ended, done]).done
    assert together([done, faulted]).done
    assert not together([done, faulted]).faulted
    assert describe(together([faulted]), 1) == "failed"
    impossible = Look(queue_position=1, is_possible=False)
    assert not together([done, impossible]).is_possible
    assert together([replace(impossible, processing=1), waiting]).is_possible


def test_a_failed_request_says_so() -> None:
    console = Console(file=StringIO())
    progress = RequestProgress(console, 1)
    progress.show(looked(check(faulted=True, done=True)))
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == "failed\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_steps_are_told_anywhere(terminal: bool) -> None:
    console = Console(file=StringIO(), force_terminal=terminal)
    voice = Voice(console)
    voice.spin()
    voice.say("loading the model [1]")
    voice.note("a line that stays")
    voice.rest()
    voice.rest()
    voice.say("after")
    assert isinstance(console.file, StringIO)
    assert "a line that stays" in console.file.getvalue()
    assert "after" in console.file.getvalue()


def test_amounts_and_waits_read_well() -> None:
    assert kudos_text(1234.5) == "1,234.5 kudos"
    assert kudos_text(10) == "10 kudos"
    assert [about_text(seconds) for seconds in (0, 0.4, 7)] == [
        "less than 1 s",
        "less than 1 s",
        "about 7 s",
    ]
    assert [duration_text(seconds) for seconds in (7, 61, 3725)] == [
        "7 s",
        "1 min 1 s",
        "1 h 2 min",
    ]
