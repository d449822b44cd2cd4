# SPDX-License-Identifier: AGPL-3.0-or-later
"""How often to ask: quickly while things move, more slowly while they do not."""

from openhorde.wire.requests import RequestCheck

FASTEST_SECONDS = 0.5
SLOWEST_SECONDS = 2.0
GROWTH = 1.25


class Pace:
    """The pause before the next check: 0.5 s after news or near the end, up to 2 s otherwise."""

    def __init__(self) -> None:
        self._pause_seconds = FASTEST_SECONDS
        self._previous: tuple[int, ...] | None = None

    def after(self, check: RequestCheck) -> float:
        """Seconds to wait after hearing `check`."""
        news = (check.finished, check.processing, check.waiting, check.queue_position)
        if news != self._previous or check.wait_time <= 1:
            self._pause_seconds = FASTEST_SECONDS
        else:
            self._pause_seconds = min(self._pause_seconds * GROWTH, SLOWEST_SECONDS)
        self._previous = news
        return self._pause_seconds
