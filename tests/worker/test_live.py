# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker is doing, folded from its events."""

from openhorde.worker.agent import events
from openhorde.worker.agent.live import FAULTS_KEPT, HOURS_KEPT, Live
from openhorde.worker.backends.base import InMemory

HOUR_SECONDS = 3600


class Clock:
    def __init__(self) -> None:
        self.now = 10 * HOUR_SECONDS + 5.0

    def __call__(self) -> float:
        return self.now


def earn(live: Live, job_id: str, kudos: float) -> None:
    live.hear(events.Popped([job_id], "m", "a picture"))
    live.hear(events.Delivered(job_id, kudos))


def test_hours_without_work_are_there_too() -> None:
    clock = Clock()
    live = Live(clock)
    earn(live, "1", 2.0)
    clock.now += 2 * HOUR_SECONDS
    earn(live, "2", 3.0)
    earn(live, "3", 4.0)
    hours = live.state().hours
    assert [one.start // HOUR_SECONDS for one in hours] == [10, 11, 12]
    assert [(one.done, one.kudos) for one in hours] == [(1, 2.0), (0, 0.0), (2, 7.0)]


def test_what_an_engine_has_in_memory_goes_with_it() -> None:
    live = Live(Clock())
    held = [InMemory(name="m", size_bytes=1, place="ram")]
    live.hear(events.MemoryChanged("diffusers", 0, held))
    assert live.state().engines == []
    live.hear(events.EngineChanged("diffusers", 0, "open", {"image": ["m"]}))
    live.hear(events.MemoryChanged("diffusers", 0, held))
    assert live.state().engines[0].in_memory == held
    live.hear(events.EngineChanged("diffusers", 0, "opening", reason="it died"))
    assert live.state().engines[0].in_memory == []


def test_only_so_much_is_kept() -> None:
    clock = Clock()
    live = Live(clock)
    earn(live, "1", 1.0)
    clock.now += 1000 * HOUR_SECONDS
    for number in range(FAULTS_KEPT + 5):
        live.hear(events.Popped([str(number)], "m", "x", "text"))
        live.hear(events.Faulted(str(number), f"reason {number}"))
    state = live.state()
    assert len(state.hours) <= HOURS_KEPT
    assert len(state.faults) == FAULTS_KEPT
    assert state.faults[0].reason == f"reason {FAULTS_KEPT + 4}"
    assert state.faulted == FAULTS_KEPT + 5


def test_a_trouble_that_is_said_again_and_again_is_one() -> None:
    live = Live(Clock())
    for _ in range(3):
        live.hear(events.Trouble("the horde is away", "text"))
    live.hear(events.Message("Hello", "Dora"))
    told = [(one.text, one.origin, one.times) for one in live.state().messages]
    assert told == [("Hello", "Dora", 1), ("the horde is away", "this worker", 3)]
    assert live.state().kinds[0].stage == "trouble"
    live.hear(events.Idle({}, "text"))
    assert live.state().kinds[0].stage == "idle"


def test_an_absent_horde_holds_up_every_kind_and_is_told_once() -> None:
    live = Live(Clock())
    live.hear(events.Trouble("http://horde.test cannot be reached"))
    for kind in ("image", "text", "image"):
        live.hear(events.Unanswered("the horde cannot be reached", kind))
    assert {one.stage for one in live.state().kinds} == {"trouble"}
    live.hear(events.Back("http://horde.test", 61.4))
    live.hear(events.Idle({}, "text"))
    told = [(one.text, one.times) for one in live.state().messages]
    assert told == [
        ("the horde at http://horde.test is back after 61 s", 1),
        ("http://horde.test cannot be reached", 1),
    ]
    assert live.state().kinds[1].stage == "idle"


def test_engines_are_counted_when_they_fall() -> None:
    live = Live(Clock())
    live.hear(events.EngineChanged("fake", 0, "opening"))
    live.hear(events.EngineChanged("fake", 0, "open", {"image": ["m"]}))
    live.hear(events.Popped(["1", "2"], "m", "x"))
    live.hear(events.Running(["1", "2"], "fake", 0))
    assert live.state().engines[0].stage == "busy"
    assert {one.stage for one in live.state().jobs} == {"running"}
    live.hear(events.EngineChanged("fake", 0, "opening", reason="it was ended by SIGKILL"))
    engine = live.state().engines[0]
    assert (engine.stage, engine.falls, engine.offers) == ("opening", 1, {"image": ["m"]})
    live.hear(events.Made(["1", "2"]))
    assert live.state().engines[0].stage == "opening"
    live.hear(events.Stopped(0))
    assert (live.state().engines, live.state().jobs) == ([], [])


def test_a_state_is_a_copy() -> None:
    live = Live(Clock())
    live.hear(events.Popped(["1"], "m", "x"))
    before = live.state()
    live.hear(events.Progress("1", 1, 2))
    assert (before.jobs[0].step, live.state().jobs[0].step) == (0, 1)
