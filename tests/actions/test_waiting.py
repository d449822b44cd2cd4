# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers that hold the line: called when there is work, each job once, nothing lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from cast import Cast, ask, image_pop, take

from openhorde.server.actions import waiting, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.work import Popped
from openhorde.server.boot import open_horde
from openhorde.server.domain.refusals import Refusal
from openhorde.server.settings import ServerSettings
from openhorde.server.store.signals import Changed, Edited
from openhorde.server.store.users import Account


class Line:
    """The line of one worker that pops with a wait."""

    def __init__(self, horde: Horde, owner: Account, name: str, wait: float, models: list[str]):
        self._hung_up = asyncio.Event()
        said = image_pop(name=name, wait=wait, models=models)
        self.answer = asyncio.create_task(waiting.pop(horde, owner, said, "127.0.0.1", self._gone))

    async def _gone(self) -> None:
        await self._hung_up.wait()

    def hang_up(self) -> None:
        self._hung_up.set()

    async def popped(self) -> Popped:
        async with asyncio.timeout(30):
            return await self.answer

    async def jobs(self) -> list[UUID]:
        return [job.id for job in (await self.popped()).jobs]


async def hold(
    horde: Horde,
    owner: Account,
    name: str = "Bob's machine",
    *,
    wait: float = 60,
    models: tuple[str, ...] = ("stable_diffusion",),
) -> Line:
    """A worker that stands in the line by now."""
    before = len(horde.waiters)
    line = Line(horde, owner, name, wait, list(models))
    async with asyncio.timeout(30):
        while len(horde.waiters) == before:
            assert not line.answer.done()
            await asyncio.sleep(0)
    return line


@pytest.fixture
async def other(horde_database: str, horde: Horde, tmp_path: Path) -> AsyncIterator[Horde]:
    """Another process on the same database."""
    settings = ServerSettings(
        database_url=horde_database, data=tmp_path, known_models=None, rate_limits=False
    )
    async with open_horde(settings, "http://horde.test") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _no_looks_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 1000.0)


async def test_a_pop_without_a_wait_is_answered_at_once(horde: Horde, cast: Cast) -> None:
    line = Line(horde, await cast.bob(), "Bob's machine", 0, ["stable_diffusion"])
    assert (await line.popped()).jobs == ()


async def test_a_wait_that_is_over_is_answered_with_nothing(horde: Horde, cast: Cast) -> None:
    line = await hold(horde, await cast.bob(), wait=0.05)
    assert await line.jobs() == []
    assert len(horde.waiters) == 0


async def test_a_job_that_joins_elsewhere_is_in_the_hands_of_who_waits_here(
    horde: Horde, other: Horde, cast: Cast
) -> None:
    alice = await cast.alice()
    line = await hold(horde, await cast.bob())
    await ask(other, alice)
    assert len(await line.jobs()) == 1


async def test_a_job_on_a_lane_that_nobody_here_knows_calls_the_one_who_fits(
    horde: Horde, other: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    unfit = await hold(horde, bob, "first", models=("another",))
    fit = await hold(horde, bob, "second", models=("quite new",))
    await ask(other, alice, models=["quite new"])
    assert len(await fit.jobs()) == 1
    assert not unfit.answer.done()


async def test_twenty_jobs_reach_twenty_who_wait_at_two_processes_each_once(
    horde: Horde, other: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    lines = [
        await hold([horde, other][number % 2], bob, f"worker {number}") for number in range(20)
    ]
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(ask([horde, other][number % 3 % 2], alice))
        found = [job for line in lines for job in await line.jobs()]
    assert len(found) == 20
    assert max(Counter(found).values()) == 1


async def test_who_came_first_is_served_first(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    lines = [await hold(horde, bob, f"worker {number}") for number in range(3)]
    for number, line in enumerate(lines):
        await ask(horde, alice)
        assert len(await line.jobs()) == 1
        assert [later.answer.done() for later in lines[number + 1 :]] == [False] * (2 - number)


async def test_who_was_called_in_vain_keeps_its_place(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    first, second = await hold(horde, bob, "first"), await hold(horde, bob, "second")
    pop = work.pop
    looked_in_vain = asyncio.Event()

    async def pop_after_a_faster_one(*arguments: object) -> Popped:
        patch.setattr(work, "pop", pop)
        assert await take(horde, bob, name="third")
        popped = await pop(*arguments)  # type: ignore[arg-type]
        assert not popped.jobs
        looked_in_vain.set()
        return popped

    with monkeypatch.context() as patch:
        patch.setattr(work, "pop", pop_after_a_faster_one)
        await ask(horde, alice)
        async with asyncio.timeout(30):
            await looked_in_vain.wait()
    await ask(horde, alice)
    assert len(await first.jobs()) == 1
    assert not second.answer.done()


async def test_what_nobody_here_sees_to_is_called_elsewhere(
    horde: Horde, other: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    here, elsewhere = await hold(horde, bob, "here"), await hold(other, bob, "elsewhere")
    pop = work.pop
    asked = 0

    async def pop_while_another_is_asked(*arguments: object) -> Popped:
        nonlocal asked
        popped = await pop(*arguments)  # type: ignore[arg-type]
        asked += 1
        if asked == 1:
            # The one who looks here is called for it, as nobody else is here, and takes the first.
            await ask(horde, alice)
        return popped

    monkeypatch.setattr(work, "pop", pop_while_another_is_asked)
    await ask(horde, alice)
    assert len(await here.jobs()) == 1
    assert len(await elsewhere.jobs()) == 1


async def test_a_job_that_comes_between_the_look_and_the_line_is_not_missed(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    pop = work.pop
    asked = False

    async def pop_before_it_is_asked(*arguments: object) -> Popped:
        nonlocal asked
        popped = await pop(*arguments)  # type: ignore[arg-type]
        if not asked:
            asked = True
            await ask(horde, alice)
        return popped

    monkeypatch.setattr(work, "pop", pop_before_it_is_asked)
    line = Line(horde, bob, "Bob's machine", 60, ["stable_diffusion"])
    assert len(await line.jobs()) == 1


async def test_nothing_is_claimed_for_who_has_hung_up(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    gone, stays = await hold(horde, bob, "gone"), await hold(horde, bob, "stays")
    gone.hang_up()
    await ask(horde, alice)
    assert await gone.jobs() == []
    assert len(await stays.jobs()) == 1


async def test_a_job_claimed_for_who_hangs_up_at_that_moment_goes_to_the_next(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    going, stays = await hold(horde, bob, "going"), await hold(horde, bob, "stays")
    pop = work.pop

    async def pop_and_hang_up(*arguments: object) -> Popped:
        popped = await pop(*arguments)  # type: ignore[arg-type]
        if popped.jobs and not going.answer.done():
            going.hang_up()
            for _ in range(3):  # As the event loop would have heard of it before the answer.
                await asyncio.sleep(0)
        return popped

    monkeypatch.setattr(work, "pop", pop_and_hang_up)
    await ask(horde, alice)
    assert await going.jobs() == []
    assert len(await stays.jobs()) == 1


async def test_a_lost_signal_delays_a_job_only(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(waiting, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(waiting.Waiters, "_find", lambda *_: 0)
    alice = await cast.alice()
    line = await hold(horde, await cast.bob())
    await ask(horde, alice)
    assert len(await line.jobs()) == 1


async def test_a_worker_that_is_put_to_rest_meanwhile_is_told(
    horde: Horde, other: Horde, cast: Cast
) -> None:
    line = await hold(horde, await cast.bob())
    await horde.pool.execute("update workers set maintenance = true")
    horde.check_ins.forget("Bob's machine")
    other.signals.send(Edited("worker", "Bob's machine"))
    with pytest.raises(Refusal) as refusal:
        await line.popped()
    assert refusal.value.code == "WorkerMaintenance"


async def test_a_server_that_stops_answers_all_who_wait(horde: Horde, cast: Cast) -> None:
    bob = await cast.bob()
    lines = [await hold(horde, bob, f"worker {number}") for number in range(3)]
    horde.waiters.close()
    assert [await line.jobs() for line in lines] == [[], [], []]
    late = Line(horde, bob, "late", 60, ["stable_diffusion"])
    assert await late.jobs() == []


async def test_who_waits_holds_no_connection(horde: Horde, cast: Cast) -> None:
    bob = await cast.bob()
    size = horde.pool.get_max_size()
    lines = [await hold(horde, bob, f"worker {number}") for number in range(size + 3)]
    horde.signals.send(Changed(UUID(int=1)))
    async with asyncio.timeout(30):
        assert await horde.pool.fetchval("select 1") == 1
    assert not any(line.answer.done() for line in lines)
    horde.waiters.close()
    for line in lines:
        await line.popped()
