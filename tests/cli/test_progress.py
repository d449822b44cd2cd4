# SPDX-License-Identifier: AGPL-3.0-or-later
"""The progress bar on a terminal and off it."""

from io import StringIO

import msgspec
import pytest
from client.playing_horde import DONE, DRAWING, WAITING, check
from rich.console import Console

from openhorde.cli.progress import RequestProgress
from openhorde.cli.screen import duration_text, kudos_text
from openhorde.cli.voice import Voice
from openhorde.wire.requests import RequestCheck


def looked(answer: dict[str, object]) -> RequestCheck:
    return msgspec.convert(answer, RequestCheck)


@pytest.mark.parametrize("terminal", [True, False])
def test_it_draws_anywhere(terminal: bool) -> None:
    console = Console(file=StringIO(), force_terminal=terminal, width=120)
    progress = RequestProgress(console, 1)
    with progress.on_screen():
        for answer in (WAITING, DRAWING, DONE):
            progress.show(looked(answer))
    assert isinstance(console.file, StringIO)
    assert "1 of 1 finished" in console.file.getvalue()


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
    assert [duration_text(seconds) for seconds in (7, 61, 3725)] == [
        "7 s",
        "1 min 1 s",
        "1 h 2 min",
    ]
