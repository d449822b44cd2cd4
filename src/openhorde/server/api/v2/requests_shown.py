# SPDX-License-Identifier: AGPL-3.0-or-later
"""Image requests as the v2 wire shows them."""

import base64
from typing import TYPE_CHECKING, Any

from openhorde.server.actions.pictures import picture_key
from openhorde.server.actions.requests import Progress, results
from openhorde.server.store.requests import Result
from openhorde.wire.requests import Generation, RequestCheck, RequestStatus

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde

DOWNLOAD_SECONDS = 1800
PICTURE_MISSING = "N/A"


def check_shown(progress: Progress) -> RequestCheck:
    """The numbers of a request."""
    return RequestCheck(**_numbers(progress))


async def status_shown(horde: "Horde", progress: Progress) -> RequestStatus:
    """The numbers of a request with its finished pictures."""
    inline = progress.facts.inline_results
    finished = await results(horde, progress)
    return RequestStatus(
        **_numbers(progress),
        generations=[await _generation(horde, result, inline) for result in finished],
        shared=progress.facts.shared,
    )


def _numbers(progress: Progress) -> dict[str, Any]:
    life = progress.life
    ended_early = progress.facts.state in ("faulted", "expired")
    return {
        "finished": life.finished,
        "processing": life.processing,
        "restarted": life.restarted,
        "waiting": life.waiting,
        "done": life.done,
        "faulted": life.faulted or ended_early,
        "wait_time": progress.wait_seconds,
        "queue_position": progress.queue_position,
        "kudos": progress.kudos_milli / 1000,
        "is_possible": progress.is_possible,
    }


async def _generation(horde: "Horde", result: Result, inline: bool) -> Generation:
    key = picture_key(result.id)
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
