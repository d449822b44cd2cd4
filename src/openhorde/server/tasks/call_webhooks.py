# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tells webhooks of finished jobs, again and again until they have understood."""

import asyncio
from collections import Counter
from datetime import timedelta

import structlog

from openhorde.server.actions import webhooks as actions
from openhorde.server.actions.horde import Horde
from openhorde.server.store import webhooks
from openhorde.server.store.webhooks import DueCall

CALLS_MAX = 64
CALLS_PER_HOST_MAX = 4
LEASE = timedelta(seconds=60)
"""Far longer than a call takes: one that has no outcome by then was cut off, and is repeated."""

LOOK_SECONDS = 0.5
"""While calls are being made, new ones are looked for this often."""

log = structlog.get_logger()


async def run(horde: Horde) -> None:
    """Make the calls that are due, many at once, until none is left."""
    making: dict[asyncio.Task[None], str] = {}
    after = ""
    try:
        while True:
            begun, after = after, await _begin(horde, making, after)
            if making:
                made, _ = await asyncio.wait(
                    making, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                for task in made:
                    del making[task]
            elif not begun:
                return
    finally:
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)


async def _begin(horde: Horde, making: dict[asyncio.Task[None], str], after: str) -> str:
    """Begin calls as long as there is room, of each host after the given one; where it stopped
    ("": all have had their turn)."""
    while len(making) < CALLS_MAX:
        now = horde.clock.now()
        calls, after = await webhooks.claim(
            horde.statements,
            now=now,
            again_at=now + LEASE,
            calls_max=CALLS_MAX - len(making),
            calls_per_host_max=CALLS_PER_HOST_MAX,
            making=Counter(making.values()),
            after=after,
        )
        making |= {asyncio.create_task(_make(horde, call)): call.origin for call in calls}
        if not after:
            break
    return after


async def _make(horde: Horde, call: DueCall) -> None:
    try:
        await actions.attempt(horde, call)
    except Exception:
        log.exception("webhook call failed", call=str(call.id))
