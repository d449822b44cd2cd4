# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finished jobs of every kind as clients hear of them: in events and in calls of webhooks."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from openhorde.server.actions.forms import form_done
from openhorde.server.actions.generations import generation
from openhorde.server.actions.texts import text_generation
from openhorde.server.store.requests import Result

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde

Show = Callable[["Horde", Result, bool], Awaitable[Struct]]

_RESULTS: Final[dict[str, Show]] = {
    "image": generation,
    "alchemy": form_done,
    "text": text_generation,
}


async def show_result(horde: "Horde", kind: str, result: Result, *, inline: bool) -> Struct:
    """A finished job; its picture, if it has one, in base64 if `inline`, else behind a link."""
    return await _RESULTS[kind](horde, result, inline)
