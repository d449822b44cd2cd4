# SPDX-License-Identifier: AGPL-3.0-or-later
"""What each kind answers when somebody asks for the status of a request."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from openhorde.server.actions.progress import Progress
from openhorde.server.api.v2.alchemy_shown import alchemy_shown
from openhorde.server.api.v2.requests_shown import status_shown, text_status_shown
from openhorde.server.store.events import TakenJob

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde

ShowStatus = Callable[["Horde", Progress, Sequence[TakenJob]], Awaitable[Any]]

STATUSES: Final[dict[str, ShowStatus]] = {
    "image": status_shown,
    "alchemy": alchemy_shown,
    "text": text_status_shown,
}
