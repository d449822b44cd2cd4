# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker offers now is what clients are told, in every process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cast import CLIENT, Cast, image_pop, image_request

from openhorde.server.actions import work
from openhorde.server.actions.check_ins import EARLY_STORES_MAX
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.requests import Priced, submit
from openhorde.server.boot import open_horde
from openhorde.server.settings import ServerSettings
from openhorde.server.store.signals import Offered
from openhorde.server.store.users import Account


@pytest.fixture
async def elsewhere(horde: Horde, horde_database: str, tmp_path: Path) -> AsyncIterator[Horde]:
    """Another process of the same horde."""
    settings = ServerSettings(
        database_url=horde_database, data=tmp_path, known_models=None, rate_limits=False
    )
    async with open_horde(settings, "http://horde.test") as opened:
        yield opened


async def pop(horde: Horde, owner: Account, *models: str, name: str = "Bob's machine") -> None:
    """A worker asks for work of these models."""
    said = image_pop(models=list(models), name=name)
    assert not (await work.pop(horde, owner, said, "127.0.0.1")).jobs


async def is_possible(horde: Horde, account: Account, model: str) -> bool:
    """Would a request for a model be done?"""
    asked = image_request(models=[model], dry_run=True)
    priced = await submit(horde, account, asked, CLIENT)
    assert isinstance(priced, Priced)
    return priced.outlook.is_possible


async def test_what_it_offers_now_is_possible_at_once(
    horde: Horde, elsewhere: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    heard = asyncio.Event()
    elsewhere.signals.listen(Offered, lambda _: heard.set())
    for models in (["one"], ["two"], ["one", "three"], ["two"]):
        heard.clear()
        await pop(horde, bob, *models)
        for model in ("one", "two", "three"):
            assert await is_possible(horde, alice, model) is (model in models), models
        await heard.wait()
        for model in ("one", "two", "three"):
            assert await is_possible(elsewhere, alice, model) is (model in models), models


async def test_it_may_change_at_one_process_after_another(
    horde: Horde, elsewhere: Horde, cast: Cast
) -> None:
    bob = await cast.bob()
    for process, model in ((horde, "one"), (elsewhere, "two"), (horde, "two")):
        await pop(process, bob, model)
        assert await horde.pool.fetchval("select models from workers") == [model]


async def test_offers_in_turn_are_stored_a_few_times_only(horde: Horde, cast: Cast) -> None:
    bob = await cast.bob()
    stored = []
    for number in range(4 * EARLY_STORES_MAX):
        await pop(horde, bob, f"model {number}")
        stored.append(await horde.pool.fetchval("select models[1] from workers"))
    assert len(set(stored)) == 1 + EARLY_STORES_MAX
    await pop(horde, bob, "the same", name="another")
    version = "select xmin::text from workers where name = 'another'"
    before = await horde.pool.fetchval(version)
    for amount in (1, 2, 3):
        said = image_pop(models=["the same"], name="another", amount=amount)
        await work.pop(horde, bob, said, "127.0.0.1")
    assert await horde.pool.fetchval(version) == before


async def test_offers_in_turn_are_stored_as_seldom_by_several_processes(
    horde: Horde, elsewhere: Horde, cast: Cast
) -> None:
    """What one process tells the other does not let that one begin to count anew."""
    bob = await cast.bob()
    heard = asyncio.Event()
    for process in (horde, elsewhere):
        process.signals.listen(Offered, lambda _: heard.set())
    stored: list[str] = []
    for number in range(4 * EARLY_STORES_MAX):
        for process, model in ((horde, f"here {number}"), (elsewhere, f"there {number}")):
            heard.clear()
            await pop(process, bob, model)
            found = await horde.pool.fetchval("select models[1] from workers")
            if found not in stored:
                await heard.wait()
                stored.append(found)
    # The first of all is stored in any case: the worker is new.
    assert len(stored) <= 1 + 2 * EARLY_STORES_MAX
