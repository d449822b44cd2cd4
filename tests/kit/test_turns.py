# SPDX-License-Identifier: AGPL-3.0-or-later
"""Owners take turns, whatever one of them brings."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from openhorde.server.kit.turns import Crowded, Turns

WAITING_MAX = 8
BYTES_MAX = 1000


class Workshop:
    """One thread, whose first piece of work is under way until it is let go; what is done, in
    order."""

    def __init__(self) -> None:
        self.turns = Turns(
            "test", 1, waiting_per_owner_max=WAITING_MAX, waiting_bytes_max=BYTES_MAX
        )
        self.done: list[str] = []
        self.release = threading.Event()

    def bring(
        self, owner: str, size_bytes: int = 1, work: Callable[[], Any] | None = None
    ) -> "asyncio.Task[Any]":
        """A piece of work of that owner."""
        work = work or (lambda: self.done.append(owner))
        return asyncio.create_task(self.turns.run(owner, size_bytes, work))


@pytest.fixture
async def workshop() -> AsyncIterator[Workshop]:
    """Busy already."""
    workshop = Workshop()
    busy = workshop.bring("busy", work=workshop.release.wait)
    await asyncio.sleep(0)
    yield workshop
    workshop.release.set()
    await busy
    workshop.turns.close()


async def test_owners_take_turns(workshop: Workshop) -> None:
    tasks = [workshop.bring("greedy") for _ in range(5)]
    tasks += [workshop.bring("modest") for _ in range(2)]
    tasks += [workshop.bring("late")]
    await asyncio.sleep(0)
    workshop.release.set()
    await asyncio.gather(*tasks)
    assert workshop.done == [
        *("greedy", "modest", "late"),
        *("greedy", "modest", "greedy", "greedy", "greedy"),
    ]


async def test_one_owner_cannot_fill_the_row(workshop: Workshop) -> None:
    tasks = [workshop.bring("greedy") for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(Crowded) as crowded:
        await workshop.bring("greedy")
    assert (crowded.value.of_owner, crowded.value.maximum) == (True, WAITING_MAX)
    tasks.append(workshop.bring("modest"))
    workshop.release.set()
    await asyncio.gather(*tasks)
    assert workshop.done.count("greedy") == WAITING_MAX
    assert workshop.done.index("modest") == 1


async def test_what_waits_is_bounded_in_bytes(workshop: Workshop) -> None:
    first = workshop.bring("one", BYTES_MAX)
    await asyncio.sleep(0)
    with pytest.raises(Crowded) as crowded:
        await workshop.bring("another", 1)
    assert (crowded.value.of_owner, crowded.value.maximum) == (False, BYTES_MAX)
    workshop.release.set()
    await first
    await workshop.bring("another", BYTES_MAX + 1)
    assert workshop.done == ["one", "another"]


async def test_who_leaves_is_not_worked_for_and_gives_the_room_back(workshop: Workshop) -> None:
    leaves = workshop.bring("leaves", BYTES_MAX)
    await asyncio.sleep(0)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    stays = workshop.bring("stays", BYTES_MAX)
    workshop.release.set()
    await stays
    assert workshop.done == ["stays"]


async def test_what_work_raises_is_heard_and_the_next_goes_on(workshop: Workshop) -> None:
    def fail() -> None:
        raise ValueError("broken")

    failing, next_one = workshop.bring("one", work=fail), workshop.bring("one")
    workshop.release.set()
    with pytest.raises(ValueError, match="broken"):
        await failing
    await next_one
    assert workshop.done == ["one"]
