# SPDX-License-Identifier: AGPL-3.0-or-later
"""Counts in a real Redis that several machines share, and what happens when it is away."""

import asyncio
from collections.abc import Iterator

import pytest
from redis_server import RunningRedis, running_redis

from openhorde.server.kit import distant_counts
from openhorde.server.kit.distant_counts import DistantCounts


@pytest.fixture(scope="module")
def redis() -> Iterator[RunningRedis]:
    """A server for all tests here, each with keys of its own."""
    with running_redis() as server:
        yield server


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may be slower than a call may wait."""
    monkeypatch.setattr(distant_counts, "ANSWER_SECONDS_MAX", 60.0)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once."""
    monkeypatch.setattr(distant_counts, "AWAY_SECONDS", 0.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("scheme", ["redis", "valkey"])
async def test_two_machines_count_together(redis: RunningRedis, scheme: str) -> None:
    one, two = (DistantCounts(f"{scheme}://127.0.0.1:{redis.port}/0") for _ in range(2))
    key = f"alice by {scheme}"
    assert await one.add([(key, 60), ("minute", 60)]) is not None
    counted = await two.add([(key, 60), (f"hour by {scheme}", 3600)])
    assert counted == [2, 1]
    by_hour, by_minute = await two.ends_at(f"hour by {scheme}"), await one.ends_at(key)
    assert by_hour is not None
    assert by_minute is not None
    assert by_hour > by_minute
    await one.close()
    await two.close()


@pytest.mark.usefixtures("patient")
async def test_many_calls_at_once_are_all_counted(redis: RunningRedis) -> None:
    counts = DistantCounts(redis.url)
    answers = await asyncio.gather(*(counts.add([("crowd", 60)]) for _ in range(100)))
    assert sorted(answers, key=str) == sorted(([number] for number in range(1, 101)), key=str)
    await counts.close()


@pytest.mark.usefixtures("patient", "eager")
async def test_a_server_that_is_away_is_found_again(redis: RunningRedis) -> None:
    counts = DistantCounts(redis.url)
    assert await counts.add([("eve", 60)]) == [1]
    redis.stop()
    assert await counts.add([("eve", 60)]) is None
    assert await counts.ends_at("eve") is None
    redis.start()
    assert await counts.add([("eve", 60)]) == [1]
    await counts.close()


async def test_after_a_failure_nobody_waits_for_another(
    redis: RunningRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distant_counts, "AWAY_SECONDS", 1e9)
    counts = DistantCounts(redis.url)
    redis.stop()
    assert await counts.add([("mallory", 60)]) is None
    redis.start()
    assert await counts.add([("mallory", 60)]) is None
    await counts.close()
