# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whoever guesses passwords waits ever longer."""

from openhorde.worker.panel.tries import ADDRESSES_MAX, FREE_TRIES, PAUSE_SECONDS_MAX, Tries


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_few_tries_are_free_and_then_each_costs_more() -> None:
    clock = Clock()
    tries = Tries(clock)
    for _ in range(FREE_TRIES):
        assert tries.pause_seconds("a") == 0
        tries.failed("a")
    first = tries.pause_seconds("a")
    assert first > 0
    clock.seconds += first
    assert tries.pause_seconds("a") == 0
    tries.failed("a")
    assert tries.pause_seconds("a") == 2 * first


def test_the_pause_has_an_upper_bound() -> None:
    tries = Tries(Clock())
    for _ in range(50):
        tries.failed("a")
    assert tries.pause_seconds("a") == PAUSE_SECONDS_MAX


def test_others_are_not_held_up_and_success_forgets() -> None:
    tries = Tries(Clock())
    for _ in range(FREE_TRIES):
        tries.failed("a")
    assert tries.pause_seconds("b") == 0
    tries.succeeded("a")
    assert tries.pause_seconds("a") == 0


def test_it_remembers_a_bounded_number_of_addresses() -> None:
    tries = Tries(Clock())
    for _ in range(FREE_TRIES):
        tries.failed("first")
    for number in range(ADDRESSES_MAX):
        tries.failed(str(number))
    assert tries.pause_seconds("first") == 0
