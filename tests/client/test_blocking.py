# SPDX-License-Identifier: AGPL-3.0-or-later
"""The blocking twin."""

import asyncio
import gc
import inspect
import threading
from collections.abc import AsyncGenerator

import pytest
from client.playing_horde import DONE, GOOD_KEY, KUDOS, REQUEST_ID, PlayingHorde, worker

from openhorde.client import AsyncHorde, Horde, HordeError
from openhorde.client.blocking import PrivateLoop


@pytest.fixture
def quick(playing: PlayingHorde) -> PlayingHorde:
    playing.checks = [DONE]
    return playing


def test_a_picture_without_async(quick: PlayingHorde) -> None:
    with Horde(quick.url) as horde:
        [picture] = horde.image("a fox", width=64)
    assert picture.content == quick.pictures[0]


def test_watching_is_a_plain_loop(quick: PlayingHorde) -> None:
    with Horde(quick.url) as horde:
        assert [look.done for look in horde.watch(REQUEST_ID)] == [True]


async def test_it_works_where_a_loop_runs_already(quick: PlayingHorde) -> None:
    with Horde(quick.url) as horde:
        assert horde.price("a fox").kudos == KUDOS


def test_all_the_reads(quick: PlayingHorde) -> None:
    quick.workers = [worker()]
    with Horde(quick.url, GOOD_KEY) as horde:
        assert horde.url == quick.url
        assert horde.find_user().username == "Alice#3"
        assert horde.heartbeat().message == "OK"
        assert horde.performance().queued_requests == 3
        assert horde.models() == []
        assert horde.workers("image")[0].name == "Bob's machine"
        assert horde.check(REQUEST_ID).done
        assert len(horde.status(REQUEST_ID).generations) == 1
        assert len(horde.cancel(REQUEST_ID).generations) == 1
    assert quick.calls("workers")[0].query == {"type": "image"}


def test_errors_come_through(quick: PlayingHorde) -> None:
    with Horde(quick.url, "wrong") as horde, pytest.raises(HordeError, match="No user matching"):
        horde.find_user()


def test_a_forgotten_client_takes_its_thread_along(quick: PlayingHorde) -> None:
    before = threading.active_count()
    horde = Horde(quick.url)
    horde.heartbeat()
    assert threading.active_count() == before + 1
    del horde
    assert threading.active_count() == before


def test_what_is_left_unfinished_ends_with_the_client() -> None:
    ended = []

    async def endless() -> AsyncGenerator[None, None]:
        try:
            while True:
                yield
        finally:
            for _ in range(20_000):
                await asyncio.sleep(0)
            ended.append(True)

    async def abandon() -> None:
        await anext(endless())

    loop = PrivateLoop()
    loop.run(abandon())
    gc.collect()
    loop.close()
    assert ended == [True]


def test_every_method_has_its_twin() -> None:
    """With the same words: `blocking` copies names and docstrings."""
    iterators = {"watch", "watch_text", "watch_forms", "forms", "form_results"}
    apart = {"close", "cancel_quietly", "url", *iterators}
    for name, method in inspect.getmembers(AsyncHorde, inspect.isfunction):
        if not name.startswith("_") and name not in apart:
            assert getattr(Horde, name).__doc__ == method.__doc__
    assert all(callable(getattr(Horde, name)) for name in iterators)
