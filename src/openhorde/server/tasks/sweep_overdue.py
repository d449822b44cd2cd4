# SPDX-License-Identifier: AGPL-3.0-or-later
"""Gives up jobs whose worker has not delivered in time; another worker gets them."""

from openhorde.server.actions import work as actions
from openhorde.server.actions.horde import Horde
from openhorde.server.store import work


async def run(horde: Horde) -> None:
    """Give up every running job that is past its deadline."""
    now = horde.clock.now()
    while overdue := await work.overdue(horde.statements, now):
        for job_id in overdue:
            await actions.give_up(horde, job_id, outcome="overdue")
