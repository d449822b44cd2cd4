# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ctrl-C and SIGTERM end a command in order: the first asks, the second insists."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any


class Stopped(Exception):
    """Somebody asked the command to stop, and it has."""


async def until_stopped(
    work: Coroutine[Any, Any, None], insist: Callable[[], None] = lambda: None
) -> None:
    """Run `work`; a signal cancels it and its cleaning up is waited for, then Stopped is raised.

    Further signals meanwhile call `insist`.
    """
    task = asyncio.ensure_future(work)
    asked = False

    def hear() -> None:
        nonlocal asked
        if asked:
            insist()
        else:
            asked = True
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, hear)
    try:
        await task
    except asyncio.CancelledError:
        if asked:
            raise Stopped from None
        raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
