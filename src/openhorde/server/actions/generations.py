# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finished image jobs as clients hear of them, wherever they do."""

import base64
from typing import TYPE_CHECKING

from openhorde.server.store.requests import Result
from openhorde.wire.requests import Generation

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde

DOWNLOAD_SECONDS = 1800
PICTURE_MISSING = "N/A"


async def generation(horde: "Horde", result: Result, inline: bool) -> Generation:
    """A finished image job with its picture: in base64 if `inline`, else behind a link."""
    key = result.result["picture"]
    if inline:
        data = await horde.blobs.get(key)
        picture = base64.b64encode(data).decode() if data else PICTURE_MISSING
    else:
        picture = await horde.blobs.download_url(key, lifetime_seconds=DOWNLOAD_SECONDS)
    return Generation(
        id=str(result.id),
        img=picture,
        seed=result.result["seed"],
        model=result.model,
        worker_id=str(result.worker_id),
        worker_name=result.worker_name,
        state="censored" if result.result["censored"] else "ok",
        censored=result.result["censored"],
        gen_metadata=result.result["gen_metadata"],
    )
