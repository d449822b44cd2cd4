# SPDX-License-Identifier: AGPL-3.0-or-later
"""Forgets requests some time after their end, with the pictures they came with."""

from datetime import timedelta

from openhorde.server.actions import requests as actions
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.sources import source_keys
from openhorde.server.domain.lives import REQUEST_TTL_SECONDS
from openhorde.server.store import requests

BATCHES_MAX = 100
KEPT = timedelta(seconds=REQUEST_TTL_SECONDS)


async def run(horde: Horde) -> None:
    """Forget what ended long enough ago; every reservation is released before."""
    for _ in range(BATCHES_MAX):
        ended = await requests.purgeable(horde.statements, horde.clock.now() - KEPT)
        if not ended:
            return
        request_ids = [request_id for request_id, _ in ended]
        await actions.settle(horde, request_ids)
        await requests.purge(horde.statements, request_ids)
        keys = [key for _, sources in ended for key in source_keys(sources)]
        await horde.blobs.drop(keys)
