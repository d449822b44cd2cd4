# SPDX-License-Identifier: AGPL-3.0-or-later
"""The owner's hold on a worker in the same process: see it, steer it, change its settings.

Everything but `serve` may be called from any thread and returns at once: what comes of it is seen
in `state`.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec

from openhorde.worker.agent import events
from openhorde.worker.agent.api import HordeApi
from openhorde.worker.agent.backoff import wait_any
from openhorde.worker.agent.live import Live, WorkerState
from openhorde.worker.agent.shift import Shift
from openhorde.worker.agent.spool import open_spool
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.settings import WorkerSettings, changed, settings_fields


class Control:
    """One worker, that works and rests as its owner wants."""

    def __init__(
        self,
        settings: WorkerSettings,
        observe: events.Observe = events.ignore,
        *,
        start: bool = True,
    ) -> None:
        """`observe` hears every event, in the loop's thread, and must not block or raise."""
        self._observe = observe
        self._live = Live()
        self._lock = threading.Lock()
        self._settings = settings
        self._in_use: WorkerSettings | None = None
        self._wanted = start
        self._loop: asyncio.AbstractEventLoop | None = None
        self._called = asyncio.Event()
        self._stop = asyncio.Event()
        self._abort = asyncio.Event()
        self._shift: Shift | None = None

    @property
    def settings(self) -> WorkerSettings:
        """What was set last. Some of it may wait for a restart: see `pending`."""
        return self._settings

    @property
    def pending(self) -> list[str]:
        """The settings whose change waits for a restart, by name."""
        with self._lock:
            in_use = self._in_use
            return [] if in_use is None else _differences(in_use, self._settings)

    def state(self) -> WorkerState:
        """What the worker is doing and has done, at this moment."""
        return self._live.state()

    def apply(self, changes: Mapping[str, Any]) -> list[str]:
        """Change settings, each given as text or in its type; returns those that need a restart.

        Raises SettingsError, naming the setting and its bounds; then nothing was changed.
        """
        with self._lock:
            before = self._settings
            self._settings = changed(before, changes)
            differing = set(_differences(before, self._settings))
            at_once = {one.name for one in settings_fields() if one.applies == "now"}
            if self._in_use is not None:
                heeded = {name: getattr(self._settings, name) for name in differing & at_once}
                self._in_use = msgspec.structs.replace(self._in_use, **heeded)
                self._tell(self._heed)
        return sorted(differing - at_once)

    def start(self) -> None:
        """Begin to work, if it rests; a drain under way is finished first."""
        self._wanted = True
        self._tell(self._called.set)

    def drain(self) -> None:
        """Finish and deliver what is in hand, then rest."""
        self._wanted = False
        self._tell(self._stop.set)

    def stop(self) -> None:
        """Give up and report what is in hand, then rest."""
        self._wanted = False
        self._tell(self._abort.set)

    def maintenance(self, wanted: bool) -> None:
        """Show at once what the owner has just had the horde do; its next answers tell the same."""
        self._live.maintenance(wanted)

    def restart(self) -> None:
        """Drain, then begin anew with the settings as they are now."""
        self._wanted = True
        self._tell(self._stop.set)
        self._tell(self._called.set)

    async def serve(self, stop: asyncio.Event, abort: asyncio.Event, *, stay: bool = False) -> int:
        """Work and rest as wanted until `stop`, which drains, or `abort`, which gives up.

        Without `stay` it also ends when the worker does not work any more. Returns the exit status
        of `Shift.work`.
        """
        self._loop = asyncio.get_running_loop()
        status = 0
        while not (stop.is_set() or abort.is_set()):
            if self._wanted:
                status = await self._work(stop, abort)
            elif stay:
                self._called.clear()
                await wait_any(None, self._called, stop, abort)
            else:
                break
        return status

    async def _work(self, stop: asyncio.Event, abort: asyncio.Event) -> int:
        """One shift, with the settings as they are at its beginning."""
        self._stop, self._abort = asyncio.Event(), asyncio.Event()
        with self._lock:
            settings = self._in_use = self._settings
        wishes = Wishes(settings)
        self._live.phase("opening")
        api = HordeApi(settings, self._hear)
        spool = open_spool(settings)
        self._shift = Shift(wishes, api, self._hear, spool, self._stop, self._abort)
        try:
            async with _passing_on((stop, self._stop), (abort, self._abort)):
                status = await self._shift.work()
        finally:
            self._shift = None
            with self._lock:
                self._in_use = None
            await api.close()
        if not (self._stop.is_set() or self._abort.is_set()):
            self._wanted = False
        self._hear(events.Stopped(status))
        return status

    def _heed(self) -> None:
        if self._shift is not None and self._in_use is not None:
            self._shift.heed(self._in_use)

    def _hear(self, event: events.Event) -> None:
        self._live.hear(event)
        self._observe(event)

    def _tell(self, what: Callable[[], None]) -> None:
        """Have something done in the loop's thread; nothing to do while there is none."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(what)


@contextlib.asynccontextmanager
async def _passing_on(*pairs: tuple[asyncio.Event, asyncio.Event]) -> AsyncIterator[None]:
    """Meanwhile, what sets the first event of a pair sets the second."""

    async def pass_on(first: asyncio.Event, second: asyncio.Event) -> None:
        await first.wait()
        second.set()

    tasks = [asyncio.create_task(pass_on(first, second)) for first, second in pairs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


def _differences(one: WorkerSettings, other: WorkerSettings) -> list[str]:
    names = WorkerSettings.__struct_fields__
    return [name for name in names if getattr(one, name) != getattr(other, name)]
