# SPDX-License-Identifier: AGPL-3.0-or-later
"""A fresh install and one that came through all migrations are the same."""

import asyncio

import asyncpg
import pytest
from cast import Cast

from openhorde.server.actions.horde import Horde
from openhorde.server.boot import STORE
from openhorde.server.kit.migrations import FRESH, describe_schema, pending, replay, upgrade


async def test_migrations_and_fresh_schema_agree(
    fresh_database: str, another_database: str
) -> None:
    fresh = await asyncpg.connect(fresh_database)
    migrated = await asyncpg.connect(another_database)
    try:
        assert await upgrade(fresh, STORE) == [FRESH]
        assert await replay(migrated, STORE)
        assert await describe_schema(fresh) == await describe_schema(migrated)
        assert await pending(fresh, STORE) == []
        for table in ("users", "accounts"):
            rows = [await each.fetch(f"select * from {table}") for each in (fresh, migrated)]
            assert [len(found) for found in rows] == [len(rows[0])] * 2
    finally:
        await fresh.close()
        await migrated.close()


async def test_servers_that_start_at_once_do_not_collide(fresh_database: str) -> None:
    async def start() -> list[str]:
        connection = await asyncpg.connect(fresh_database)
        try:
            return await upgrade(connection, STORE)
        finally:
            await connection.close()

    applied = await asyncio.gather(*(start() for _ in range(6)))
    assert sorted(applied) == [[]] * 5 + [[FRESH]]


async def test_nobody_edits_the_ledger(horde: Horde, cast: Cast) -> None:
    await cast.alice()
    for statement in ("update transfers set amount_milli = 1", "delete from transfers"):
        with pytest.raises(asyncpg.RaiseError, match="append only"):
            await horde.pool.execute(statement)
