# SPDX-License-Identifier: AGPL-3.0-or-later
"""Deletes pictures that have been kept long enough."""

from datetime import timedelta

from openhorde.server.actions.horde import Horde


async def run(horde: Horde) -> None:
    """Delete every picture older than the setting says."""
    before = horde.clock.now() - timedelta(seconds=horde.settings.picture_seconds)
    async for keys in horde.blobs.list_older_than("", before):
        await horde.blobs.drop(keys)
