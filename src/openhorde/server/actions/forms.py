# SPDX-License-Identifier: AGPL-3.0-or-later
"""Forms of alchemy as clients hear of them, with links to the pictures that were made."""

from typing import TYPE_CHECKING, Any

from openhorde.server.actions.generations import DOWNLOAD_SECONDS
from openhorde.server.domain.kinds.alchemy import PICTURE_FORMS
from openhorde.server.store.requests import Result
from openhorde.wire.alchemy import FormDone

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde


async def form_done(horde: "Horde", result: Result, inline: bool) -> FormDone:
    """A form that is done. Pictures are always behind links."""
    return FormDone(
        id=str(result.id),
        form=result.model,
        result=await linked(horde, result.model, result.result),
        worker_id=str(result.worker_id),
        worker_name=result.worker_name,
    )


async def linked(horde: "Horde", form: str, stored: dict[str, Any]) -> dict[str, Any]:
    """What came of a form, with a fresh link in the place of its picture."""
    if form not in PICTURE_FORMS:
        value: dict[str, Any] = stored["result"]
        return value
    url = await horde.blobs.download_url(stored["picture"], lifetime_seconds=DOWNLOAD_SECONDS)
    return {form: url}
