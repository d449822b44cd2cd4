# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small horde on loopback, and workers to set on it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from worker.fake_horde import OWNER_KEY, PATIENCE_SECONDS, FakeHorde, Noticeboard, serving

from openhorde.worker.agent import events
from openhorde.worker.boot import run_worker
from openhorde.worker.library.judges import OpenNsfw
from openhorde.worker.settings import WorkerSettings, load_settings


@pytest.fixture
async def horde() -> AsyncIterator[FakeHorde]:
    fake = FakeHorde()
    async with serving(fake):
        yield fake


class RunningWorker(Noticeboard):
    """A worker in this process, its engine in another, and what it told."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__()
        self.stop = asyncio.Event()
        self.abort = asyncio.Event()
        self.events: list[events.Event] = []
        self.task = asyncio.create_task(
            run_worker(settings, stop=self.stop, abort=self.abort, observe=self._observe)
        )

    def _observe(self, event: events.Event) -> None:
        self.events.append(event)
        self.tell()

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def heard(self, kind: type[Any], count: int = 1) -> list[Any]:
        await self.until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    async def drained(self) -> int:
        self.stop.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.task


StartWorker = Callable[..., RunningWorker]


@pytest.fixture
async def start_worker(horde: FakeHorde) -> AsyncIterator[StartWorker]:
    """Start workers with the fake engine and short pauses; keywords are settings."""
    started = []

    def start(**changes: Any) -> RunningWorker:
        quick = {
            "horde_url": horde.url,
            "api_key": OWNER_KEY,
            "backends": ["fake"],
            "kinds": ["image"],
            "idle_seconds": 0.02,
            "idle_seconds_max": 0.05,
            "retry_seconds": 0.02,
            "retry_seconds_max": 0.05,
        }
        worker = RunningWorker(load_settings(None, None, quick | changes))
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.abort.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await worker.task


@pytest.fixture
def nothing_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the package of the classifier that comes along were not installed."""
    monkeypatch.setattr(OpenNsfw, "obstacle", lambda: "it is not installed")
