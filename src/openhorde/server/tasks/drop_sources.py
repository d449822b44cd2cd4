# SPDX-License-Identifier: AGPL-3.0-or-later
"""Deletes the source pictures of requests that have ended, and gives their room back."""

from openhorde.server.actions.horde import Horde
from openhorde.server.actions.sources import source_keys
from openhorde.server.store import requests

BATCHES_MAX = 100


async def run(horde: Horde) -> None:
    """Delete what no job will ask for any more."""
    for _ in range(BATCHES_MAX):
        ended = await requests.ended_with_sources(horde.statements)
        if not ended:
            return
        await horde.blobs.drop([key for _, kept in ended for key in source_keys(kept)])
        await requests.drop_sources(horde.statements, [request_id for request_id, _ in ended])
