# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whoever guesses passwords is slowed down, and nobody else is."""

import asyncio

import pytest

from openhorde.worker.panel.tries import (
    ADDRESSES_MAX,
    FORGET_SECONDS,
    FREE_TRIES,
    PAUSE_SECONDS,
    WAITING_MAX,
    Crowded,
    Tries,
)


class Clock:
    """Time that passes only when it is told to, or when somebody pauses."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.pauses = 0
        self.going_on = asyncio.Event()
        self.going_on.set()

    def __call__(self) -> float:
        return self.seconds

    async def pause(self, seconds: float) -> None:
        assert seconds == PAUSE_SECONDS
        self.pauses += 1
        await self.going_on.wait()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tries(clock: Clock) -> Tries:
    return Tries(clock, clock.pause)


def guess(tries: Tries, address: str, times: int = FREE_TRIES) -> None:
    for _ in range(times):
        tries.failed(address)


async def waits(tries: Tries, clock: Clock, address: str) -> bool:
    """Whether a try from this address has to wait."""
    before = clock.pauses
    async with tries.turn(address):
        return clock.pauses > before


async def test_a_few_tries_are_free(tries: Tries, clock: Clock) -> None:
    guess(tries, "a", FREE_TRIES - 1)
    assert not await waits(tries, clock, "a")
    guess(tries, "a", 1)
    assert await waits(tries, clock, "a")
    assert not await waits(tries, clock, "b")


async def test_guesses_are_forgotten_after_a_while(tries: Tries, clock: Clock) -> None:
    guess(tries, "a", 50)
    clock.seconds += FORGET_SECONDS
    assert await waits(tries, clock, "a")
    clock.seconds += 1
    assert not await waits(tries, clock, "a")
    guess(tries, "a", 1)
    assert not await waits(tries, clock, "a")


async def test_the_right_password_frees_nobody_else(tries: Tries, clock: Clock) -> None:
    guess(tries, "a")
    tries.failed("a")
    tries.succeeded("a")
    assert await waits(tries, clock, "a")
    tries.succeeded("stranger")


async def test_a_line_that_is_full_is_told(tries: Tries, clock: Clock) -> None:
    guess(tries, "a")
    clock.going_on.clear()
    waiting = [asyncio.create_task(waits(tries, clock, "a")) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(Crowded):
        await waits(tries, clock, "a")
    assert clock.pauses == 1
    clock.going_on.set()
    assert all(await asyncio.gather(*waiting))
    assert await waits(tries, clock, "a")


async def test_it_remembers_a_bounded_number_of_addresses(tries: Tries, clock: Clock) -> None:
    guess(tries, "first")
    for number in range(ADDRESSES_MAX):
        tries.failed(str(number))
    assert not await waits(tries, clock, "first")
