# SPDX-License-Identifier: AGPL-3.0-or-later
"""Waiting for work on the line: held pops, old hordes, and hanging up without losing a job."""

import asyncio
import os
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from worker.test_processes import child_of

from openhorde.wire.work import ImagePop
from openhorde.worker.agent import events, pop
from openhorde.worker.agent.api import Away, HordeApi
from openhorde.worker.agent.kinds.base import Offer
from openhorde.worker.agent.pop import Popper
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.backends.base import Capabilities
from openhorde.worker.settings import load_settings

OFFER = Offer(
    name="a worker",
    capabilities=Capabilities(models=["stable_diffusion"]),
    engines=1,
    places=1,
)
BODY = ImagePop(name="a worker", wait=60)
EMPTY: dict[str, Any] = {"id": None, "ids": [], "payload": {}, "skipped": {"models": 1}}
JOB_ID = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A horde that was not tried yet gets no time to answer before it is hung up on."""
    monkeypatch.setattr(pop, "PROMPT_SECONDS_UNTRIED", 0.0)


async def test_an_idle_worker_waits_on_the_line(horde: Any, start_worker: Any) -> None:
    horde.holding = True
    worker = start_worker(pop_wait_seconds=60)
    await horde.until(lambda: horde.held)
    (job_id,) = horde.offer()
    (delivered,) = await worker.heard(events.Delivered)
    assert delivered.id == job_id
    assert {one["wait"] for one in horde.pops} == {60}
    # One that was answered with the job, and the one after it.
    assert len(horde.pops) <= 2
    assert not worker.of(events.Idle)


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("way", ["stop", "abort"])
async def test_a_waiting_worker_stops_at_once(horde: Any, start_worker: Any, way: str) -> None:
    horde.holding = True
    worker = start_worker(pop_wait_seconds=60)
    await horde.until(lambda: horde.held)
    getattr(worker, way).set()
    assert await worker.drained() == 0
    await horde.until(lambda: horde.hang_ups)
    assert len(horde.pops) == 1
    assert not worker.of(events.Trouble)


@pytest.mark.usefixtures("untried")
async def test_a_job_that_is_being_handed_over_is_done(horde: Any, start_worker: Any) -> None:
    horde.holding = True
    worker = start_worker(pop_wait_seconds=60)
    horde.before_answer = worker.stop.set
    await horde.until(lambda: horde.held)
    (job_id,) = horde.offer()
    assert await worker.drained() == 0
    assert worker.of(events.Delivered) == [events.Delivered(job_id, 12.5)]


@pytest.mark.usefixtures("untried")
async def test_a_job_handed_over_to_an_abort_is_given_back(horde: Any, start_worker: Any) -> None:
    horde.holding = True
    worker = start_worker(pop_wait_seconds=60)
    horde.before_answer = worker.abort.set
    await horde.until(lambda: horde.held)
    (job_id,) = horde.offer()
    assert await worker.drained() == 0
    (submit,) = horde.submitted(job_id)
    assert submit["state"] == "faulted"


async def test_a_worker_whose_engine_died_wants_no_work(
    horde: Any, start_worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pop, "PROMPT_SECONDS_UNTRIED", 0.0)
    horde.holding = True
    horde.offer(ddim_steps=500)
    worker = start_worker(fake_step_seconds=0.05, pop_wait_seconds=60)
    await worker.heard(events.Progress)
    await horde.until(lambda: horde.held)
    os.kill(child_of(os.getpid()), signal.SIGKILL)
    await horde.until(lambda: horde.hang_ups)
    (job_id,) = horde.offer()
    (delivered,) = await worker.heard(events.Delivered)
    assert delivered.id == job_id


@pytest.fixture
async def late_answer() -> Any:
    """A horde that answers a pop with a job only after the worker hung up; and its address."""
    answer = f'{{"ids": ["{JOB_ID}"]}}'.encode()
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", asked


async def test_what_is_on_its_way_is_heard_after_hanging_up(late_answer: Any) -> None:
    url, asked = late_answer
    api = HordeApi(load_settings(None, None, {"horde_url": url}))
    for _ in range(2):
        asked.clear()
        asking = asyncio.create_task(api.pop("generate/pop", BODY, 60))
        await asked.wait()
        api.hang_up("generate/pop")
        assert (await asking)["ids"] == [JOB_ID]
    await api.close()


async def test_hanging_up_on_nobody_is_harmless() -> None:
    api = HordeApi(load_settings(None, None, {"horde_url": "http://127.0.0.1:9"}))
    api.hang_up("generate/pop")
    with pytest.raises(Away):
        await api.pop("generate/pop", BODY, 60)
    api.hang_up("generate/pop")
    await api.close()


class PlayingApi:
    """Answers pops with nothing after so many seconds of a clock of its own."""

    def __init__(self, *answer_seconds: float) -> None:
        self.now = 0.0
        self._answer_seconds = list(answer_seconds)

    async def pop(self, path: str, body: Any, held_seconds: float) -> dict[str, Any]:
        self.now += self._answer_seconds.pop(0)
        return dict(EMPTY)


@pytest.fixture
def popper(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Popper]:
    def make(*answer_seconds: float, **changes: Any) -> Popper:
        api: Any = PlayingApi(*answer_seconds)
        monkeypatch.setattr(pop, "time", SimpleNamespace(monotonic=lambda: api.now))
        settings = load_settings(None, None, changes)
        return Popper("image", Wishes(settings), api, lambda: OFFER, events.ignore)

    return make


async def test_a_held_call_is_made_again_at_once(popper: Callable[..., Popper]) -> None:
    asking = popper(25.0, 25.0, pop_wait_seconds=25)
    for _ in range(2):
        assert await asking.pop() == []
        assert asking.pause_seconds == 0


@pytest.mark.parametrize("wait_seconds", [0, 25])
async def test_a_horde_that_holds_no_calls_is_asked_ever_less(
    popper: Callable[..., Popper], wait_seconds: int
) -> None:
    asking = popper(*[0.1] * 30, pop_wait_seconds=wait_seconds, idle_seconds=1, idle_seconds_max=3)
    pauses = []
    for _ in range(30):
        assert await asking.pop() == []
        pauses.append(asking.pause_seconds)
    assert all(0.75 <= pause <= 1.25 for pause in pauses[:1])
    assert all(2.25 <= pause <= 3.75 for pause in pauses[-10:])


async def test_a_horde_that_learns_to_hold_is_hurried_again(popper: Callable[..., Popper]) -> None:
    asking = popper(0.1, 24.9, 0.1, pop_wait_seconds=25, idle_seconds=1)
    pauses = []
    for _ in range(3):
        await asking.pop()
        pauses.append(asking.pause_seconds)
    assert pauses[0] > 0
    assert pauses[1] == 0
    assert 0.75 <= pauses[2] <= 1.25
