# SPDX-License-Identifier: AGPL-3.0-or-later
"""LoRAs and embeddings of a job that is not drawn yet, fetched where the owner allows it."""

import asyncio

from openhorde.wire.image import ImagePayload
from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.library.downloads import Downloads
from openhorde.worker.library.fetching import Fetcher
from openhorde.worker.settings import WorkerSettings

# The other half is for drawing.
TTL_SHARE = 0.5


async def fetch_adapters(
    settings: WorkerSettings, assignment: Assignment, payload: ImagePayload
) -> None:
    """Have what the job names on disk, as far as that is possible within half of its time.

    What is still missing then, the engine leaves out and tells.
    """
    if not settings.allow_lora_downloads or not (payload.loras or payload.tis):
        return
    seconds_max = max(1.0, assignment.seconds_left * TTL_SHARE)
    downloads = Downloads(settings, Fetcher(settings.download_hosts, seconds_max))
    await asyncio.gather(
        *(downloads.have("loras", one.name, one.is_version) for one in payload.loras),
        *(downloads.have("embeddings", one.name) for one in payload.tis),
    )
