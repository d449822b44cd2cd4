# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one process edits, another forgets at once, however long it would have remembered."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cast import Cast, take

from openhorde.server.actions import check_ins, workers, workforce
from openhorde.server.actions.horde import Horde
from openhorde.server.boot import open_horde
from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.ids import hash_key
from openhorde.server.settings import ServerSettings
from openhorde.server.store import users
from openhorde.server.store.signals import Edited
from openhorde.server.store.workers import WorkerChange


@pytest.fixture(autouse=True)
def _long_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing grows old by itself."""
    monkeypatch.setattr(check_ins, "READ_SECONDS", 1e9)
    monkeypatch.setattr(workforce, "STALE_SECONDS", 1e9)
    monkeypatch.setattr(users, "FRESH_SECONDS", 1e9)


@pytest.fixture
async def other(horde_database: str, tmp_path: Path) -> AsyncIterator[Horde]:
    """Another process on the same database."""
    settings = ServerSettings(
        database_url=horde_database, data=tmp_path, known_models=None, rate_limits=False
    )
    async with open_horde(settings, "http://horde.test") as opened:
        yield opened


def next_edit(horde: Horde) -> asyncio.Event:
    """Set as soon as this process has heard of an edit, and acted on it."""
    heard = asyncio.Event()
    horde.signals.listen(Edited, lambda _: heard.set())
    return heard


async def test_a_worker_put_to_rest_elsewhere_is_told_so(
    horde: Horde, other: Horde, cast: Cast
) -> None:
    bob = await cast.bob()
    assert await take(other, bob) == []
    entry = other.check_ins.find(bob.id, "Bob's machine")
    assert entry is not None
    assert len((await other.workforce.roster()).offers) == 1
    heard = next_edit(other)
    await workers.edit_worker(horde, bob, entry.record.id, WorkerChange(maintenance=True))
    await heard.wait()
    with pytest.raises(Refusal, match="WorkerMaintenance"):
        await take(other, bob)
    assert (await other.workforce.roster()).offers == ()


async def test_a_deleted_worker_is_forgotten_elsewhere(
    horde: Horde, other: Horde, cast: Cast
) -> None:
    bob = await cast.bob()
    assert await take(other, bob) == []
    entry = other.check_ins.find(bob.id, "Bob's machine")
    assert entry is not None
    heard = next_edit(other)
    await workers.delete_worker(horde, bob, entry.record.id)
    await heard.wait()
    assert other.check_ins.find(bob.id, "Bob's machine") is None


async def test_an_edited_account_is_read_again_elsewhere(
    horde: Horde, other: Horde, cast: Cast
) -> None:
    added = await cast.make("Charlie")
    key = "a key of Charlie's"
    key_hash = hash_key(horde.salt, key)
    await horde.pool.execute("update users set key_hash = $1 where id = $2", key_hash, added.id)
    before = await other.accounts.by_key(key)
    assert before is not None
    assert not before.flagged
    await horde.pool.execute("update users set roles = '{flagged}' where id = $1", added.id)
    assert await other.accounts.by_key(key) is before
    heard = next_edit(other)
    horde.signals.send(Edited("user", str(added.id)))
    await heard.wait()
    after = await other.accounts.by_key(key)
    assert after is not None
    assert after.flagged


async def test_what_was_read_before_an_edit_is_not_kept(horde: Horde, cast: Cast) -> None:
    charlie = await cast.make("Charlie")
    key = "a key of Charlie's"
    key_hash = hash_key(horde.salt, key)
    await horde.pool.execute("update users set key_hash = $1 where id = $2", key_hash, charlie.id)
    reading = asyncio.create_task(horde.accounts.by_key(key))
    await asyncio.sleep(0)
    horde.signals.send(Edited("user", str(charlie.id)))
    before = await reading
    assert before is not None
    assert await horde.accounts.by_key(key) is not before
