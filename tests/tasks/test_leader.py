# SPDX-License-Identifier: AGPL-3.0-or-later
"""Duties are done by one process of all, except those that every server has for itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from openhorde.server.actions.horde import Horde
from openhorde.server.tasks import DUTIES
from openhorde.server.tasks.rounds import Duty, keep


class Process:
    """One process that keeps duties, and how often it has done them."""

    def __init__(self, *, first: bool = True) -> None:
        self.shared = 0
        self.own = 0
        self.has_led = asyncio.Event()
        self.first = first
        self.duties = (
            Duty("shared", self._do_shared),
            Duty("failing", self._fail),
            Duty("own", self._do_own, each_server=True),
        )

    async def _do_shared(self, _horde: Horde) -> None:
        self.shared += 1
        self.has_led.set()

    async def _do_own(self, _horde: Horde) -> None:
        self.own += 1

    async def _fail(self, _horde: Horde) -> None:
        raise ZeroDivisionError


@asynccontextmanager
async def keeping(horde: Horde, dsn: str, process: Process) -> AsyncIterator[None]:
    """A process that lives as long as the block."""
    kept = keep(horde, dsn, process.duties, first_process=process.first, try_again_seconds=0.02)
    task = asyncio.create_task(kept)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_duties_are_done_once_and_move(horde: Horde, horde_database: str) -> None:
    leader, other, later = Process(), Process(), Process(first=False)
    async with keeping(horde, horde_database, other), keeping(horde, horde_database, later):
        waiting = [asyncio.create_task(each.has_led.wait()) for each in (other, later)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        assert (other.shared, later.shared) in {(1, 0), (0, 1)}
        assert other.own == 1
        assert later.own == 0
    async with keeping(horde, horde_database, leader):
        await leader.has_led.wait()
    assert (leader.shared, leader.own) == (1, 1)


def test_who_looks_after_a_folder_is_every_server() -> None:
    assert [duty.name for duty in DUTIES if duty.each_server] == ["prune pictures"]
