# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ends requests on which nothing has happened for their lifetime."""

from datetime import timedelta

from openhorde.server.actions import requests as actions
from openhorde.server.actions.horde import Horde
from openhorde.server.domain.lives import REQUEST_TTL_SECONDS
from openhorde.server.store import requests

LIFETIME = timedelta(seconds=REQUEST_TTL_SECONDS)


async def run(horde: Horde) -> None:
    """End idle requests, batch by batch, and give back what they hold in reserve."""
    idle_since = horde.clock.now() - LIFETIME
    while expirable := await requests.expirable(horde.statements, idle_since):
        await actions.expire(horde, expirable)
