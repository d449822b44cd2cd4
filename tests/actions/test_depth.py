# SPDX-License-Identifier: AGPL-3.0-or-later
"""How deep the queue is, and how long it takes: not older, and no longer, than it is."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cast import Cast, ask, image_pop, take

from openhorde.server.actions import depth, requests, work
from openhorde.server.actions.depth import AGE_SECONDS_MAX, Depths, Snapshot, fresh_seconds
from openhorde.server.actions.horde import Horde
from openhorde.server.domain.kinds.image import NAME
from openhorde.server.store.work import LaneLoad


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of the module."""
    clock = Clock()
    monkeypatch.setattr(depth, "monotonic", clock)
    return clock


@pytest.mark.parametrize("slow_seconds", [0.5, 10.0, 600.0])
async def test_one_slow_reading_makes_no_old_numbers(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, slow_seconds: float
) -> None:
    costs = [0.001] * 3 + [slow_seconds]

    async def read(_statements: object) -> Any:
        clock.now += costs.pop(0) if costs else 0.001
        return {1: LaneLoad("image", 1, 1, 1)}, []

    monkeypatch.setattr(depth, "work", SimpleNamespace(queue_depth=read))
    depths = Depths(SimpleNamespace())  # type: ignore[arg-type]
    for _ in range(200):
        snapshot = await depths.snapshot()
        # A reading tells of its beginning, and may itself have taken long.
        assert clock.now - snapshot.taken_at <= AGE_SECONDS_MAX + slow_seconds
        clock.now += 1.0
        for _ in range(3):
            await asyncio.sleep(0)
    assert clock.now - (await depths.snapshot()).taken_at <= AGE_SECONDS_MAX


def test_numbers_are_fresh_within_bounds() -> None:
    assert fresh_seconds(0.0) == 0.05
    assert fresh_seconds(0.01) == 2.0
    assert fresh_seconds(60.0) == 10.0


def test_what_nobody_serves_is_no_part_of_what_is_possible() -> None:
    lanes = {1: LaneLoad("image", 1, 3, 100), 2: LaneLoad("image", 3, 3, 900)}
    snapshot = Snapshot(0.0, lanes | {3: LaneLoad("text", 7, 7, 7)}, {})
    share = snapshot.possible("image", lambda lane: lane == 1)
    assert (share.requests, share.jobs, share.things) == (0.25, 0.5, 0.1)
    assert snapshot.possible("alchemy", lambda _: False).things == 1.0


async def test_a_request_that_nobody_can_do_keeps_nobody_waiting(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await take(horde, bob)
    own = await ask(horde, await cast.make("Charlie", kudos=1000))
    alone, _ = await requests.read(horde, own, NAME)
    large = {"width": 2048, "height": 2048, "steps": 100, "n": 5}
    for _ in range(4):
        await ask(horde, alice, models=["absent model"], params=large)
    await horde.pool.execute("update jobs set rank = 0 where request_id <> $1", own)
    await horde.queue.snapshot(with_latest=True)
    behind, _ = await requests.read(horde, own, NAME)
    assert behind.queue_position == alone.queue_position == 1
    assert behind.wait_seconds == alone.wait_seconds


async def test_skipped_counts_what_was_asked_a_moment_ago(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    for number in range(1, 6):
        popped = await work.pop(horde, bob, image_pop(models=["another"]), "127.0.0.1")
        assert popped.skipped.get("models", 0) == number - 1
        await ask(horde, alice)
        popped = await work.pop(horde, bob, image_pop(models=["another"]), "127.0.0.1")
        assert popped.skipped == {"models": number}


async def test_a_job_that_is_late_is_not_said_to_end_at_once(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice)
    await take(horde, bob)
    ago = timedelta(seconds=100)
    await horde.pool.execute("update jobs set popped_at = popped_at - $1::interval", ago)
    progress, _ = await requests.read(horde, request_id, NAME)
    assert 25 <= progress.wait_seconds <= 60
    horde.workforce.forget()
    (hand,) = (await horde.workforce.roster()).hands
    assert hand.busy_seconds >= 25
