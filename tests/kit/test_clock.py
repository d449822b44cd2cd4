# SPDX-License-Identifier: AGPL-3.0-or-later
from datetime import UTC, datetime, timedelta, timezone

import pytest

from openhorde.server.kit.clock import Clock, FixedClock, SystemClock

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_the_systems_clock_tells_utc() -> None:
    clock: Clock = SystemClock()
    assert clock.now().tzinfo is UTC


def test_a_fixed_clock_moves_when_told() -> None:
    clock = FixedClock(NOON)
    assert clock.now() == NOON
    clock.advance(90)
    assert clock.now() == NOON + timedelta(seconds=90)
    clock.set(datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == datetime(2026, 1, 1, tzinfo=UTC)
    assert clock.now().tzinfo is UTC


def test_a_fixed_clock_needs_a_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        FixedClock(NOON.replace(tzinfo=None))
