# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models are offered by how much waits for them, as far as memory reaches."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from openhorde.worker.agent.api import Away
from openhorde.worker.agent.bell import Bell
from openhorde.worker.agent.demand import Demand
from openhorde.worker.agent.kinds.table import combined
from openhorde.worker.agent.wishes import Wishes
from openhorde.worker.backends.base import Capabilities
from openhorde.worker.settings import load_settings


class Queue:
    """Stands in for a horde that is asked how much waits."""

    def __init__(self, **queued: float) -> None:
        self.answer: Any = [{"name": name, "queued": count} for name, count in queued.items()]

    async def look(self, path: str) -> Any:
        assert path.startswith("status/models")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def demand(queue: Any, **flags: Any) -> Demand:
    settings = load_settings(None, None, {"dynamic_models": True} | flags)
    return Demand(Wishes(settings), queue, Bell())


def engine(memory: int, **sizes: int) -> Capabilities:
    return Capabilities(models=list(sizes), model_bytes=sizes, memory_bytes=memory)


async def test_what_is_most_waited_for_is_offered() -> None:
    wanted = demand(Queue(one=5, two=9, three=1))
    await wanted.look()
    names = ["one", "two", "three", "four"]
    sizes = dict.fromkeys(names, 10)
    assert wanted.left_out(names, engine(10, **sizes)) == {"one", "three", "four"}
    assert wanted.left_out(names, engine(20, **sizes)) == {"three", "four"}
    assert wanted.left_out(["one", "four"], engine(10, **sizes)) == {"four"}


async def test_pinned_models_are_always_offered_and_warm_ones_first_of_their_like() -> None:
    sizes = {"one": 10, "two": 10, "three": 10}
    pinning = demand(Queue(one=9, two=8), pinned_models=["three"])
    await pinning.look()
    assert pinning.left_out(list(sizes), engine(20, **sizes)) == {"two"}
    wanted = demand(Queue(one=9, two=8))
    await wanted.look()
    assert wanted.left_out(list(sizes), engine(10, **sizes)) == {"two", "three"}
    wanted.used("two")
    assert wanted.left_out(list(sizes), engine(10, **sizes)) == {"one", "three"}
    wanted.used("one")
    assert wanted.left_out(list(sizes), engine(10, **sizes)) == {"two", "three"}


@pytest.mark.parametrize("answer", [Away("no answer"), {"message": "odd"}, [{"queued": 3}]])
async def test_without_an_answer_what_was_known_stays(answer: Any) -> None:
    queue: Any = Queue(one=5)
    wanted = demand(queue)
    capabilities = engine(10, one=10, two=10)
    assert wanted.left_out(["one", "two"], capabilities) == frozenset()
    await wanted.look()
    queue.answer = answer
    with capture_logs() as entries:
        await wanted.look()
        await wanted.look()
    assert len(entries) == 1
    assert wanted.left_out(["one", "two"], capabilities) == {"two"}


async def test_nothing_is_left_out_unless_it_is_wanted_and_known() -> None:
    wanted = demand(Queue(one=5), dynamic_models=False)
    await wanted.look()
    assert wanted.left_out(["one", "two"], engine(10, one=10, two=10)) == frozenset()
    wanted = demand(Queue(one=5))
    await wanted.look()
    assert wanted.left_out(["one", "two"], engine(0, one=10, two=10)) == frozenset()
    assert wanted.left_out(["one", "two"], engine(10, one=10)) == frozenset()
    assert wanted.left_out(["one", "two"], engine(9, one=10, two=10)) == frozenset()


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9)),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 20)),
    st.integers(0, 60),
)
def test_something_is_always_left(
    queued: dict[str, int], sizes: dict[str, int], memory: int
) -> None:
    wanted = demand(Queue(**queued))
    asyncio.run(wanted.look())
    left_out = wanted.left_out(list(sizes), engine(memory, **sizes))
    assert left_out <= set(sizes)
    assert not sizes or left_out != set(sizes)
    if left_out:
        assert sum(size for name, size in sizes.items() if name not in left_out) <= memory


async def test_a_change_is_told_at_once() -> None:
    queue: Any = Queue(one=5)
    bell = Bell()
    settings = load_settings(None, None, {"dynamic_models": True})
    wanted = Demand(Wishes(settings), queue, bell)
    ring = bell.next_ring
    await wanted.look()
    assert ring.is_set()
    ring = bell.next_ring
    await wanted.look()
    assert not ring.is_set()


def test_engines_tell_together_what_each_has_room_for() -> None:
    one = Capabilities(models=["a", "b"], model_bytes={"a": 1}, memory_bytes=9, warm_models=["a"])
    other = Capabilities(models=["b"], model_bytes={"b": 2}, memory_bytes=7, warm_models=["b"])
    both = combined([one, other], "image")
    assert (both.model_bytes, both.memory_bytes) == ({"a": 1, "b": 2}, 7)
    assert both.warm_models == ["a", "b"]


async def test_a_worker_offers_what_is_waited_for(horde: Any, start_worker: Any) -> None:
    horde.queued = {"one model": 3.5, "two models": 9, "another": 99}
    start_worker(
        models_to_load=["one model", "two models", "three models"],
        dynamic_models=True,
        ram_memory_mib=1024,
    )
    await horde.until(lambda: horde.pops and horde.pops[-1]["models"] == ["two models"])
