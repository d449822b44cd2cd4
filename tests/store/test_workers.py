# SPDX-License-Identifier: AGPL-3.0-or-later
"""Workers as they are stored, changed and forgotten."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from cast import Cast, take

from openhorde.server.actions.horde import Horde
from openhorde.server.store import workers
from openhorde.server.store.workers import NameTaken, WorkerChange


@pytest.fixture
async def worker_id(horde: Horde, cast: Cast) -> UUID:
    """Bob's worker, that has checked in."""
    await take(horde, await cast.bob(), threads=2)
    found = await workers.worker_id_by_name(horde.statements, "Bob's machine")
    assert found is not None
    return found


async def test_shown(horde: Horde, worker_id: UUID) -> None:
    shown = await workers.shown_worker(horde.statements, worker_id)
    assert shown is not None
    assert (shown.kind, shown.name, shown.owner_name) == ("image", "Bob's machine", "Bob")
    assert (shown.threads, shown.online, shown.maintenance) == (2, True, False)
    assert shown.offer["max_pixels"] == 4_194_304
    assert shown.speed is None


async def test_only_those_that_exist_in_the_order_asked(
    horde: Horde, cast: Cast, worker_id: UUID
) -> None:
    await take(horde, await cast.bob(), name="A second machine")
    second = await workers.worker_id_by_name(horde.statements, "A second machine")
    assert second is not None
    found = await workers.shown_workers(horde.statements, [worker_id, uuid4(), second])
    assert [worker.id for worker in found] == [worker_id, second]


async def test_online(horde: Horde, worker_id: UUID) -> None:
    async def online(kind: str | None = None, name_part: str | None = None) -> list[UUID]:
        return await workers.online_worker_ids(horde.statements, kind=kind, name_part=name_part)

    assert await online() == [worker_id]
    assert await online(kind="image", name_part="Bobs") == []
    assert await online(kind="image", name_part="OB'S") == [worker_id]
    assert await online(kind="text") == []
    await horde.pool.execute("update workers set checked_in_at = now() - interval '300 seconds'")
    assert await online() == []


async def test_only_what_is_given_changes(horde: Horde, worker_id: UUID) -> None:
    async def stored() -> tuple[object, ...]:
        row = await horde.pool.fetchrow(
            "select maintenance, maintenance_message, paused, info, name from workers"
        )
        return tuple(row)

    async def change(**fields: Any) -> bool:
        given = WorkerChange(**fields)
        return await workers.change_worker(horde.statements, worker_id, given)

    assert await change(maintenance=True, maintenance_message="back soon")
    assert await change(info="old")
    assert await change(paused=True, info="new")
    assert await stored() == (True, "back soon", True, "new", "Bob's machine")
    assert await change(maintenance=True)
    assert await change(maintenance=True, maintenance_message="later")
    assert await stored() == (True, "later", True, "new", "Bob's machine")
    assert await change(maintenance=False, name="Renamed")
    assert await stored() == (False, None, True, "new", "Renamed")
    assert await change(maintenance_message="of no use")
    assert await stored() == (False, None, True, "new", "Renamed")


async def test_names_are_taken_once(horde: Horde, cast: Cast, worker_id: UUID) -> None:
    await take(horde, await cast.bob(), name="A second machine")
    with pytest.raises(NameTaken):
        await workers.change_worker(
            horde.statements, worker_id, WorkerChange(name="A second machine")
        )


async def test_gone_is_gone(horde: Horde, worker_id: UUID) -> None:
    assert await workers.delete_worker(horde.statements, worker_id)
    assert not await workers.delete_worker(horde.statements, worker_id)
    change = WorkerChange(paused=True)
    assert not await workers.change_worker(horde.statements, worker_id, change)
    assert await workers.shown_worker(horde.statements, worker_id) is None
