# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether the horde can be reached: told when that changes, not at every call."""

import time
from collections.abc import Callable

import structlog

from openhorde.worker.agent import events

log = structlog.get_logger(__name__)


class Presence:
    """Hears of every call to the horde. `clock` gives seconds that never go back."""

    def __init__(
        self,
        horde_url: str,
        observe: events.Observe,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._horde_url = horde_url
        self._observe = observe
        self._clock = clock
        self._away_since: float | None = None

    def away(self, reason: str) -> None:
        """A call was not answered."""
        if self._away_since is None:
            self._away_since = self._clock()
            log.warning("the horde is away; trying again", url=self._horde_url, reason=reason)
            told = f"the horde at {self._horde_url} cannot be reached; trying again: {reason}"
            self._observe(events.Trouble(told))

    def here(self) -> None:
        """A call was answered, well or not."""
        if self._away_since is not None:
            away_seconds = self._clock() - self._away_since
            self._away_since = None
            log.info("the horde is back", url=self._horde_url, away_seconds=round(away_seconds, 1))
            self._observe(events.Back(self._horde_url, away_seconds))
