# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a worker is put together and started."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from openhorde.worker.agent import events
from openhorde.worker.agent.check import Check, check_worker
from openhorde.worker.agent.control import Control
from openhorde.worker.agent.narrowing import skipped_sentences
from openhorde.worker.settings import WorkerSettings, secrets

__all__ = [
    "Check",
    "Control",
    "check_worker",
    "load_panel",
    "quiet_log",
    "run_with_panel",
    "run_worker",
    "serve",
    "skipped_sentences",
]


async def run_worker(
    settings: WorkerSettings,
    *,
    stop: asyncio.Event | None = None,
    abort: asyncio.Event | None = None,
    observe: events.Observe = events.ignore,
) -> int:
    """Work until stopped; returns the exit status: 0 after a drain, 1 when the worker cannot go on,
    MISCONFIGURED_STATUS (78) when it cannot until a setting is changed.

    `stop` asks for a drain: what is in hand is finished and delivered. `abort` gives it up and
    reports it. Without a `stop` the first SIGINT or SIGTERM drains and the second aborts.
    `observe` hears every event, in the loop's thread, and must not block or raise.
    """
    return await serve(Control(settings, observe), stop=stop, abort=abort)


async def serve(
    control: Control,
    *,
    stop: asyncio.Event | None = None,
    abort: asyncio.Event | None = None,
    stay: bool = False,
) -> int:
    """As `run_worker`, for a worker that somebody steers; with `stay` it may rest in between."""
    aborting = abort if abort is not None else asyncio.Event()
    stopping = stop if stop is not None else asyncio.Event()
    with _signals(stopping, aborting) if stop is None else contextlib.nullcontext():
        return await control.serve(stopping, aborting, stay=stay)


def quiet_log() -> None:
    """Log nothing but errors, for a command whose output is its answer."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def load_panel() -> type[Exception]:
    """Import what the panel needs; the answer is what `run_with_panel` raises when it is refused.

    Raises ModuleNotFoundError where the extra `panel` is not installed.
    """
    from openhorde.worker.panel.serving import PanelRefused

    return PanelRefused


async def run_with_panel(
    path: Path,
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
    *,
    say: Callable[[str], None],
    start: bool = True,
    stop: asyncio.Event | None = None,
    abort: asyncio.Event | None = None,
    observe: events.Observe = events.ignore,
) -> int:
    """As `run_worker`, with the control panel beside it: the worker may rest and work again.

    The settings are those of `load_settings`; the panel changes the YAML file at `path`, which
    need not exist yet. `say` writes to the owner's console, where the address and a new password
    belong. Raises SettingsError; PanelRefused when the panel cannot be opened as it is set.
    """
    # Here, because a worker without a panel runs without what the panel needs.
    from openhorde.worker.panel.log_tail import LogTail
    from openhorde.worker.panel.saving import SettingsFile
    from openhorde.worker.panel.serving import panel_open
    from openhorde.worker.panel.steering import Rewards

    file = SettingsFile(path, environ, flags)
    rewards = Rewards()

    def hear(event: events.Event) -> None:
        rewards(event)
        observe(event)

    control = Control(file.load(), hear, start=start)
    tail = LogTail(lambda: secrets(control.settings))
    detach = tail.attach()
    aborting = abort if abort is not None else asyncio.Event()
    stopping = stop if stop is not None else asyncio.Event()
    try:
        # Signals are heard before anybody can know that the worker is there.
        with _signals(stopping, aborting) if stop is None else contextlib.nullcontext():
            async with panel_open(control, file, tail, rewards, say) as address:
                say(f"Control panel: {address}")
                return await serve(control, stop=stopping, abort=aborting, stay=True)
    finally:
        detach()


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
