# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is shown of the worker is escaped, and is what is known."""

import re

import pytest

from openhorde.worker.agent.live import (
    EngineView,
    FaultView,
    HourView,
    JobView,
    KindView,
    MessageView,
    Phase,
    WorkerState,
)
from openhorde.worker.backends.base import InMemory
from openhorde.worker.panel import views
from openhorde.worker.panel.chart import Bar, bars_svg, number_text, round_top
from openhorde.worker.panel.page import buttons_shown
from openhorde.worker.settings import WorkerSettings

EVIL = "<script>alert('x')</script>"
NOW = 1_800_000_000.0


def test_nothing_from_outside_is_taken_for_html() -> None:
    state = WorkerState(
        phase="working",
        since=NOW,
        kinds=[KindView(kind="image", stage="trouble", message=EVIL, skipped={EVIL: 1})],
    )
    job = JobView(id="1", kind="image", model=EVIL, what=EVIL, stage="running", since=NOW)
    engine = EngineView(
        backend="fake", number=0, stage="idle", offers={"image": [EVIL]}, falls=1, reason=EVIL
    )
    shown = [
        views.status_html(state, WorkerSettings(worker_name=EVIL), NOW),
        views.kinds_html(state.kinds),
        views.jobs_html([job], NOW),
        views.faults_html([FaultView(id="1", kind="image", model=EVIL, reason=EVIL, at=NOW)]),
        views.messages_html([MessageView(text=EVIL, origin=EVIL, at=NOW)]),
        views.engines_html([engine]),
        views.notice_html(EVIL),
        views.table_html(EVIL, [(EVIL, EVIL)]),
        bars_svg(EVIL, EVIL, [Bar(EVIL, 1.0)]),
    ]
    for html in shown:
        assert "<script" not in html
        assert "&lt;script" in html


def test_a_job_shows_how_far_it_is() -> None:
    job = JobView(
        id="1",
        kind="image",
        model="shapes",
        what="64 x 64",
        stage="running",
        since=NOW - 65,
        step=3,
        steps=12,
        engine="fake 1",
    )
    html = views.jobs_html([job], NOW)
    for words in ("shapes", "running on fake 1", "3 of 12", "width:25%", "1 min 5 s"):
        assert words in html


def test_an_engine_shows_what_it_has_in_memory() -> None:
    held = [
        InMemory(name="shapes", size_bytes=7 * 2**20, place="device"),
        InMemory(name=EVIL, size_bytes=300 * 2**20, place="ram"),
    ]
    html = views.engines_html(
        [EngineView(backend="diffusers", number=0, stage="idle", in_memory=held)]
    )
    assert "shapes (7 MiB, device)" in html
    assert "(300 MiB, RAM)" in html
    assert "<script" not in html


def test_the_last_day_is_shown_with_its_empty_hours() -> None:
    this = int(NOW) // 3600 * 3600
    hours = [
        HourView(start=this - 30 * 3600, done=99, kudos=99),
        HourView(start=this - 3600, done=2, kudos=7.5),
        HourView(start=this, done=1, kudos=3),
    ]
    html = views.hours_html(hours, NOW)
    assert html.count('class="bar"') == 2 * views.HOURS_SHOWN
    assert re.search(r": 7\.5 kudos<", html)
    assert re.search(r": 2 jobs<", html)
    assert ": 99 " not in html


def test_a_day_without_jobs_says_so() -> None:
    html = views.hours_html([HourView(start=int(NOW) // 3600 * 3600)], NOW)
    assert "No jobs yet" in html
    assert "<svg" not in html


@pytest.mark.parametrize("phase", ["resting", "opening", "working", "draining"])
@pytest.mark.parametrize("maintenance", [False, True])
def test_the_buttons_tell_what_can_be_done(phase: Phase, maintenance: bool) -> None:
    state = WorkerState(phase=phase, since=NOW, maintenance=maintenance)
    start, stop, maintain = buttons_shown(state)
    assert start["interactive"] is (phase in ("resting", "draining"))
    assert stop["interactive"] is (phase != "resting")
    assert stop["value"] == ("Stop at once" if phase == "draining" else "Stop")
    assert maintain["value"] == ("Maintenance off" if maintenance else "Maintenance on")
    head = views.status_html(state, WorkerSettings(), NOW)
    shown = "in maintenance" if maintenance and phase == "working" else phase
    assert f'id="phase">{shown}<' in head


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 1), (0.4, 1), (1, 1), (1.1, 2), (37, 40), (100, 100), (101, 200)]
)
def test_the_axis_ends_at_a_round_number(highest: float, top: float) -> None:
    assert round_top(highest) == top


def test_a_whole_number_keeps_its_zeros() -> None:
    assert number_text(300.2, 0) == "300"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (12.5, "12.5"), (1234.567, "1,234.57"), (10, "10"), (100, "100")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3700, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert views.duration_text(seconds) == text
