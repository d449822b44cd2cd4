# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs the standing duties, each in its own rhythm, until the server stops."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from openhorde.server.actions.horde import Horde
from openhorde.server.kit.disk import is_disk_full
from openhorde.server.kit.leadership import TRY_AGAIN_SECONDS, lead
from openhorde.server.store.signals import Changed, Edited

LEADER_LOCK = int.from_bytes(b"openhord")
"""The advisory lock of who does the duties, in the space of locks with one number."""

COLLECT_SECONDS = 0.1
"""Signals often come in crowds; a duty that one has woken waits this long for the others."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that is to be done again and again. `rounds` says every how many rounds
    (of `duty_seconds`), and `woken_by` upon what signal it is done earlier.

    A duty is done by the one process that leads all servers on the database. One that looks after
    what every server has for itself is done by `each_server`, in its first process.
    """

    name: str
    run: Callable[[Horde], Awaitable[None]]
    rounds: int = 1
    woken_by: type[Changed | Edited] | None = None
    each_server: bool = False


async def keep(
    horde: Horde,
    dsn: str,
    duties: Sequence[Duty],
    *,
    first_process: bool = True,
    try_again_seconds: float = TRY_AGAIN_SECONDS,
) -> None:
    """Do, for ever, side by side, those of the duties that fall to this process. One that fails
    is logged and tried again in its next round.

    Every duty stays safe on several servers at once (what it takes, it takes by compare-and-set
    or under a lock): when the lead moves, two may do it for a moment.
    """
    kept = [(duty, _waker(horde, duty)) for duty in duties]

    async def keep_those(each_server: bool) -> None:
        those = [_keep_one(horde, *pair) for pair in kept if pair[0].each_server == each_server]
        await asyncio.gather(*those)

    leading = lead(dsn, LEADER_LOCK, lambda: keep_those(False), try_again_seconds=try_again_seconds)
    if first_process:
        await asyncio.gather(leading, keep_those(True))
    else:
        await leading


def _waker(horde: Horde, duty: Duty) -> asyncio.Event:
    woken = asyncio.Event()
    if duty.woken_by is not None:
        horde.signals.listen(duty.woken_by, lambda _: woken.set())
    return woken


async def _keep_one(horde: Horde, duty: Duty, woken: asyncio.Event) -> None:
    while True:
        woken.clear()
        try:
            await duty.run(horde)
        except Exception as error:
            if is_disk_full(error):
                horde.disk.note_full()
                log.error("duty failed", duty=duty.name, reason="the disk is full")
            else:
                log.exception("duty failed", duty=duty.name)
        with suppress(TimeoutError):
            async with asyncio.timeout(horde.settings.duty_seconds * duty.rounds):
                await woken.wait()
                await asyncio.sleep(COLLECT_SECONDS)
