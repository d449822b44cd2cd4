# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finished text jobs as clients hear of them, wherever they do."""

from typing import TYPE_CHECKING

from openhorde.server.store.requests import Result
from openhorde.wire.text import TextGeneration

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde


async def text_generation(horde: "Horde", result: Result, inline: bool) -> TextGeneration:
    """A finished text job. The text lies with the job, so it is always inline."""
    told = result.result
    return TextGeneration(
        id=str(result.id),
        text=told["text"],
        model=result.model,
        worker_id=str(result.worker_id),
        worker_name=result.worker_name,
        seed=told["seed"],
        state=told["state"],
        gen_metadata=told["gen_metadata"],
    )
