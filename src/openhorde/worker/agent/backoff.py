# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long to wait before trying again."""

import asyncio
import random


class Backoff:
    """Pauses that grow from the first to the longest, spread so that none march in step."""

    def __init__(self, first_seconds: float, longest_seconds: float, factor: float = 2.0) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._factor = factor
        self._next = first_seconds

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._next = self._first

    def next_seconds(self) -> float:
        """The next pause."""
        pause = self._next
        self._next = min(self._next * self._factor, self._longest)
        return pause * random.uniform(0.75, 1.25)


async def wait_any(seconds: float | None, *events: asyncio.Event) -> None:
    """Wait until one of the events is set, at most so many seconds."""
    if any(event.is_set() for event in events):
        return
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
