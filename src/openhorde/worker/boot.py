# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a worker is put together and started."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator

from openhorde.worker.agent import events
from openhorde.worker.agent.api import HordeApi
from openhorde.worker.agent.shift import Shift
from openhorde.worker.settings import WorkerSettings


async def run_worker(
    settings: WorkerSettings,
    *,
    stop: asyncio.Event | None = None,
    abort: asyncio.Event | None = None,
    observe: events.Observe = events.ignore,
) -> int:
    """Work until stopped; the answer is the exit status: 0 after a drain, 1 when it cannot go on.

    `stop` asks for a drain: what is in hand is finished and delivered. `abort` gives it up and
    reports it. Without a `stop` the first SIGINT or SIGTERM drains and the second aborts.
    `observe` hears every event, in the loop's thread, and must not block or raise.
    """
    aborting = abort if abort is not None else asyncio.Event()
    stopping = stop if stop is not None else asyncio.Event()
    handled = _signals(stopping, aborting) if stop is None else contextlib.nullcontext()
    api = HordeApi(settings)
    try:
        with handled:
            status = await Shift(settings, api, observe, stopping, aborting).work()
    finally:
        await api.close()
    observe(events.Stopped(status))
    return status


@contextlib.contextmanager
def _signals(stop: asyncio.Event, abort: asyncio.Event) -> Iterator[None]:
    """The first signal drains, the second aborts."""
    loop = asyncio.get_running_loop()

    def handle() -> None:
        (abort if stop.is_set() else stop).set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C then ends the worker at once
        for number in numbers:
            loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError):
            for number in numbers:
                loop.remove_signal_handler(number)
