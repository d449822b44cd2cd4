# SPDX-License-Identifier: AGPL-3.0-or-later
"""Watching a request: the pace, rate limits and outages."""

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest
from client.playing_horde import DONE, REQUEST_ID, WAITING, PlayingHorde, check

from openhorde.client import AsyncHorde, HordeError, HordeUnreachable
from openhorde.client.kinds import ALCHEMY, IMAGE, TEXT, Kind
from openhorde.client.looks import Look, View
from openhorde.client.watching import SLOWEST_SECONDS, Pace
from openhorde.wire.requests import RequestCheck


def looked(**changes: object) -> Look:
    return View().checked(msgspec.convert(check(**changes), RequestCheck))


@pytest.mark.parametrize("kind", [IMAGE, TEXT, ALCHEMY])
def test_the_pace_slows_down_to_two_seconds_and_speeds_up_on_news(kind: Kind[Any, Any]) -> None:
    pace = Pace(kind)
    pauses = [pace.after(looked()) for _ in range(20)]
    assert pauses[0] == kind.pause_seconds_min
    assert pauses == sorted(pauses)
    assert pauses[-1] == SLOWEST_SECONDS
    assert pace.after(looked(queue_position=1)) == kind.pause_seconds_min


def test_the_pace_is_quick_near_the_end() -> None:
    pace = Pace(IMAGE)
    assert [pace.after(looked(wait_time=1)) for _ in range(5)] == [0.5] * 5


def test_who_tells_no_wait_is_not_asked_as_if_it_were_over() -> None:
    pace = Pace(ALCHEMY)
    assert [pace.after(Look()) for _ in range(20)][-1] == SLOWEST_SECONDS


async def test_watching_ends_with_the_last_look(horde: AsyncHorde) -> None:
    looks = [one async for one in horde.watch(REQUEST_ID)]
    assert [one.done for one in looks] == [False, False, True]


async def test_a_rate_limit_is_waited_for_as_long_as_it_says(
    horde: AsyncHorde, playing: PlayingHorde, pauses: list[float]
) -> None:
    playing.checks = [DONE]
    playing.refuse("generate/check/{id}", 429, {"message": "10 per 1 second"}, Retry_After="3")
    assert [one.done async for one in horde.watch(REQUEST_ID)] == [True]
    assert pauses == [3.0]


async def test_retry_after_may_be_a_date_but_never_long(
    horde: AsyncHorde, playing: PlayingHorde, pauses: list[float]
) -> None:
    playing.checks = [DONE]
    tomorrow = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    playing.refuse("generate/check/{id}", 429, {"message": "wait"}, Retry_After=tomorrow)
    playing.refuse("generate/check/{id}", 429, {"message": "wait"}, Retry_After="soon")
    assert [one.done async for one in horde.watch(REQUEST_ID)] == [True]
    assert pauses == [60.0, 1.0]


async def test_a_submission_waits_for_a_rate_limit_too(
    horde: AsyncHorde, playing: PlayingHorde, pauses: list[float]
) -> None:
    playing.refuse("generate/async", 429, {"message": "2 per 1 second"}, 2, Retry_After="1")
    await horde.generate_image("a fox")
    assert pauses == [1.0, 1.0]


async def test_a_short_outage_is_survived() -> None:
    playing = PlayingHorde(checks=[WAITING, DONE])
    with ExitStack() as server:
        server.enter_context(playing.running())
        pauses: list[float] = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 1:
                await asyncio.to_thread(server.close)
            elif len(pauses) == 4:
                server.enter_context(playing.running())

        async with AsyncHorde(playing.url, sleep=sleep) as horde:
            looks = [one.done async for one in horde.watch(REQUEST_ID)]
        assert looks == [False, True]
        # The first is the ordinary pause, the others grow while nobody answers.
        assert pauses == [0.5, 0.5, 1.0, 2.0]


async def test_a_long_outage_is_not(playing: PlayingHorde, pauses: list[float]) -> None:
    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    playing.refuse("generate/check/{id}", 503, {"message": "down"}, 100)
    async with AsyncHorde(playing.url, outage_seconds=10, sleep=sleep) as horde:
        with pytest.raises(HordeError, match="down"):
            [one async for one in horde.watch(REQUEST_ID)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


async def test_a_submission_does_not_wait_for_an_absent_horde(pauses: list[float]) -> None:
    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    with PlayingHorde().running() as playing:
        url = playing.url
    async with AsyncHorde(url, sleep=sleep) as horde:
        with pytest.raises(HordeUnreachable):
            await horde.generate_image("a fox")
    assert pauses == []
