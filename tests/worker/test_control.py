# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker that is seen and steered from its own process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from worker.fake_horde import OWNER_KEY, PATIENCE_SECONDS, Noticeboard

from openhorde.worker.agent import events
from openhorde.worker.agent.control import Control
from openhorde.worker.boot import serve
from openhorde.worker.settings import SettingsError, load_settings


class Steered(Noticeboard):
    """A worker with a hold on it, and what it told."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.events: list[events.Event] = []
        self.stop = asyncio.Event()
        start = settings.pop("start", True)
        self.control = Control(load_settings(None, None, settings), self._observe, start=start)
        self.task = asyncio.create_task(serve(self.control, stop=self.stop, stay=True))

    def _observe(self, event: events.Event) -> None:
        self.events.append(event)
        self.tell()

    async def phase(self, phase: str) -> None:
        await self.until(lambda: self.control.state().phase == phase)

    def count(self, kind: type[Any]) -> int:
        return sum(isinstance(event, kind) for event in self.events)


@pytest.fixture
async def steer(horde: Any) -> AsyncIterator[Callable[..., Steered]]:
    started = []

    def make(**changes: Any) -> Steered:
        quick = {"idle_seconds": 0.02, "idle_seconds_max": 0.05, "retry_seconds": 0.02}
        given = {"horde_url": horde.url, "api_key": OWNER_KEY, "backends": ["fake"]}
        steered = Steered(**(given | quick | {"retry_seconds_max": 0.05} | changes))
        started.append(steered)
        return steered

    yield make
    for one in started:
        one.control.stop()
        one.stop.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await one.task


async def test_the_state_tells_of_jobs_engines_kinds_and_earnings(horde: Any, steer: Any) -> None:
    horde.submits_gate.clear()
    (job_id,) = horde.offer(ddim_steps=3)
    steered = steer(kinds=["image", "text"])
    await steered.until(lambda: steered.count(events.Made))
    await steered.until(lambda: steered.control.state().jobs[0].stage == "delivering")
    state = steered.control.state()
    assert state.phase == "working"
    (job,) = state.jobs
    assert (job.id, job.kind, job.model, job.step, job.steps) == (
        job_id,
        "image",
        "stable_diffusion",
        3,
        3,
    )
    (engine,) = state.engines
    assert (engine.name, job.engine, engine.stage) == ("fake 1", "fake 1", "idle")
    assert engine.offers["text"] == ["fake-writer"]
    horde.submits_gate.set()
    await steered.until(lambda: steered.control.state().done)
    state = steered.control.state()
    assert (state.jobs, state.kudos, state.hours[-1].kudos) == ([], 12.5, 12.5)
    await steered.until(lambda: len(steered.control.state().kinds) == 2)
    by_kind = {one.kind: one for one in steered.control.state().kinds}
    assert (by_kind["image"].done, by_kind["text"].done) == (1, 0)


async def test_faults_and_troubles_are_kept(horde: Any, steer: Any) -> None:
    (job_id,) = horde.offer()
    steered = steer(kinds=["image"], fake_failure_rate=1.0)
    await steered.until(lambda: steered.control.state().faulted)
    (fault,) = steered.control.state().faults
    assert (fault.id, fault.kind, fault.model) == (job_id, "image", "stable_diffusion")
    assert "told to fail" in fault.reason


async def test_it_rests_and_works_again(horde: Any, steer: Any) -> None:
    steered = steer(kinds=["image"], start=False)
    assert steered.control.state().phase == "resting"
    steered.control.start()
    await steered.phase("working")
    horde.offer(ddim_steps=20)
    await steered.until(lambda: steered.count(events.Running))
    steered.control.drain()
    await steered.phase("resting")
    assert steered.count(events.Delivered) == 1
    assert steered.control.state().engines == []
    steered.control.start()
    await steered.phase("working")
    assert steered.control.state().done == 1


async def test_stop_gives_up_what_is_in_hand(horde: Any, steer: Any) -> None:
    steered = steer(kinds=["image"], fake_step_seconds=0.05)
    horde.offer(ddim_steps=500)
    await steered.until(lambda: steered.count(events.Progress))
    steered.control.stop()
    await steered.phase("resting")
    assert steered.control.state().faults[0].reason == "the worker was stopped"


async def test_some_settings_are_heeded_at_once(horde: Any, steer: Any) -> None:
    horde.holding = True
    steered = steer(kinds=["image"], pop_wait_seconds=1)
    await horde.until(lambda: horde.pops)
    assert horde.pops[0]["nsfw"] is True
    assert steered.control.apply({"nsfw": "no", "max_power": 2, "blacklist": ["war"]}) == []
    await horde.until(lambda: not horde.pops[-1]["nsfw"])
    assert (horde.pops[-1]["max_pixels"], horde.pops[-1]["blacklist"]) == (65536, ["war"])
    assert steered.control.pending == []
    assert steered.count(events.Stopped) == 0


async def test_others_wait_for_a_restart(horde: Any, steer: Any) -> None:
    steered = steer(kinds=["image"])
    await horde.until(lambda: horde.pops)
    assert steered.control.apply({"worker_name": "Bob", "queue_size": 3}) == ["worker_name"]
    assert steered.control.pending == ["worker_name"]
    assert steered.control.settings.worker_name == "Bob"
    steered.control.restart()
    await horde.until(lambda: horde.pops[-1]["name"] == "Bob")
    assert steered.control.pending == []


async def test_a_wrong_setting_changes_nothing(horde: Any, steer: Any) -> None:
    steered = steer(start=False)
    before = steered.control.settings
    for wrong in ({"max_power": 0}, {"nsfw": "no", "what": 1}, {"idle_seconds": 50}):
        with pytest.raises(SettingsError):
            steered.control.apply(wrong)
    assert steered.control.settings is before


async def test_settings_that_leave_nothing_are_told_and_can_be_mended(
    horde: Any, steer: Any
) -> None:
    steered = steer(kinds=["alchemy"], forms=["sing"], retry_seconds_max=600)
    await steered.until(lambda: steered.count(events.Trouble))
    assert "the settings leave nothing" in steered.control.state().messages[0].text
    assert not horde.pops_of["alchemy"]
    steered.control.apply({"forms": ["caption"]})
    await horde.until(lambda: horde.pops_of["alchemy"])


async def test_a_worker_that_cannot_go_on_rests_until_it_is_started(
    horde: Any, steer: Any, tmp_path: Any
) -> None:
    steered = steer(backends=["diffusers"], models_folder=tmp_path / "absent")
    await steered.until(lambda: steered.count(events.Stopped))
    assert steered.control.state().phase == "resting"
    assert not steered.task.done()
    steered.control.apply({"backends": ["fake"], "kinds": ["image"]})
    steered.control.start()
    await steered.phase("working")


async def test_the_process_s_stop_drains_too(horde: Any, steer: Any) -> None:
    steered = steer(kinds=["image"])
    await steered.phase("working")
    steered.stop.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await steered.task == 0


async def test_it_is_steered_from_another_thread(horde: Any, steer: Any) -> None:
    steered = steer(kinds=["image"])
    await steered.phase("working")
    await asyncio.to_thread(steered.control.drain)
    await steered.phase("resting")
