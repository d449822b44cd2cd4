# SPDX-License-Identifier: AGPL-3.0-or-later
"""What time it is, as an argument."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return datetime.now(UTC)


class FixedClock:
    """A clock that stands still until it is told to move: for tests."""

    def __init__(self, moment: datetime) -> None:
        self._moment = _in_utc(moment)

    def now(self) -> datetime:
        """The time it was last set to, aware, in UTC."""
        return self._moment

    def set(self, moment: datetime) -> None:
        """Jump to an aware moment."""
        self._moment = _in_utc(moment)

    def advance(self, seconds: float) -> None:
        """Move on (or back, when negative)."""
        self._moment += timedelta(seconds=seconds)


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"a moment needs a time zone: {moment!r}")
    return moment.astimezone(UTC)
