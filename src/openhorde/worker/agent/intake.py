# SPDX-License-Identifier: AGPL-3.0-or-later
"""Intake: asks for work of one kind whenever there is room for it."""

import asyncio
from collections.abc import Callable

from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.backoff import wait_any
from openhorde.worker.agent.bell import Bell
from openhorde.worker.agent.pop import Popper


class Intake:
    """`places` tells how many more jobs would be started soon enough; `receive` takes what comes.

    `bell` rings when that may have changed. It ends with any of `ends`, or when `over` says so.
    """

    def __init__(
        self,
        popper: Popper,
        bell: Bell,
        places: Callable[[], int],
        receive: Callable[[list[Assignment]], None],
        ends: tuple[asyncio.Event, ...],
        abort: asyncio.Event,
    ) -> None:
        self._popper = popper
        self._bell = bell
        self._places = places
        self._receive = receive
        self._ends = ends
        self._abort = abort

    async def work(self) -> None:
        """Ask until told to stop. Raises Misconfigured or Exhausted when asking is of no use."""
        while not self._ended:
            ring = self._bell.next_ring
            if self._places() <= 0:
                await wait_any(None, ring, *self._ends)
                continue
            asking, ring = await self._ask()
            assignments = [] if asking.cancelled() else asking.result()
            if assignments:
                self._receive(assignments)
            else:
                hurry = (ring,) if self._popper.may_hurry else ()
                await wait_any(self._popper.pause_seconds, *hurry, *self._ends)

    @property
    def _ended(self) -> bool:
        return any(end.is_set() for end in self._ends)

    async def _ask(self) -> tuple[asyncio.Task[list[Assignment]], asyncio.Event]:
        """One call for work; hung up when the worker stops meanwhile, or wants something else.

        The event is set when the bell has rung since the call was made.
        """
        answered = asyncio.Event()
        asking = asyncio.create_task(self._popper.pop())
        asking.add_done_callback(lambda _: answered.set())
        first_ring = ring = self._bell.next_ring
        try:
            while not answered.is_set():
                if self._ended or self._places() <= 0 or self._popper.outdated:
                    await self._popper.hang_up(asking, self._abort)
                    break
                await wait_any(None, answered, ring, *self._ends)
                ring = self._bell.next_ring
        finally:
            asking.cancel()
        return asking, first_ring
