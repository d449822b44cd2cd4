# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs the standing duties, each in its own rhythm, until the server stops."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from openhorde.server.actions.horde import Horde

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that is to be done again and again. `rounds` says every how many rounds
    (of `duty_seconds`)."""

    name: str
    run: Callable[[Horde], Awaitable[None]]
    rounds: int = 1


async def keep(horde: Horde, duties: Sequence[Duty]) -> None:
    """Do the duties for ever, side by side. One that fails is logged and tried again in its next
    round.

    Every duty is safe to run on several servers at once: what it takes, it takes by
    compare-and-set or under a lock.
    """
    await asyncio.gather(*(_keep_one(horde, duty) for duty in duties))


async def _keep_one(horde: Horde, duty: Duty) -> None:
    while True:
        try:
            await duty.run(horde)
        except Exception:
            log.exception("duty failed", duty=duty.name)
        await asyncio.sleep(horde.settings.duty_seconds * duty.rounds)
