# SPDX-License-Identifier: AGPL-3.0-or-later
import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID, uuid4

import msgspec
import pytest

from openhorde.server.kit.database import DatabaseUnusable, open_pool, prepare_connection


async def test_speaks_json_uuid_and_time(fresh_database: str) -> None:
    pool = await open_pool(fresh_database, connections_min=1, connections_max=2)
    sent = {"words": ["a", "é"], "deep": {"number": 1.5}, "nothing": None}
    identity = uuid4()
    row = await pool.fetchrow(
        "select $1::jsonb as facts, $2::uuid as id, now() as moment,"
        " current_setting('application_name') as application",
        sent,
        identity,
    )
    assert row["facts"] == sent
    assert row["id"] == identity
    assert isinstance(row["id"], UUID)
    assert msgspec.json.encode(row["id"]) == msgspec.json.encode(identity)
    assert row["moment"].tzinfo is UTC
    assert isinstance(row["moment"], datetime)
    assert row["application"] == "openhorde"
    assert await pool.fetchval("select null::jsonb") is None
    await pool.close()


async def test_a_connection_goes_back_without_a_round_trip(fresh_database: str) -> None:
    pool = await open_pool(fresh_database, connections_min=1, connections_max=1)
    await pool.execute("set work_mem = '5MB'")
    assert await pool.fetchval("show work_mem") == "5MB"
    await pool.close()


async def test_a_statement_is_planned_once(fresh_database: str) -> None:
    pool = await open_pool(fresh_database, connections_min=1, connections_max=1)
    await pool.execute("create table numbers as select generate_series(1, 10000) as number")
    await pool.execute("create index on numbers (number)")
    await pool.execute("analyze numbers")
    statement = "select count(*) from numbers where number < $1"
    for _ in range(10):
        assert await pool.fetchval(statement, 5) == 4
    row = await pool.fetchrow(
        "select generic_plans, custom_plans from pg_prepared_statements where statement = $1",
        statement,
    )
    assert tuple(row) == (10, 0)
    await pool.close()


async def test_an_open_transaction_does_not_go_back(fresh_database: str) -> None:
    pool = await open_pool(fresh_database, connections_min=1, connections_max=1)
    async with pool.acquire() as connection:
        await connection.execute("begin")
        await connection.execute("create table half ()")
        # asyncpg tells the loop about a transaction that nobody finished.
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    assert await pool.fetchval("select to_regclass('half')") is None
    await pool.close()


async def test_says_what_to_do_when_there_is_no_such_database(postgres_dsn: str) -> None:
    dsn = postgres_dsn.replace("/postgres?", "/nowhere?", 1).replace(
        "//postgres@", "//postgres:sesame@"
    )
    with pytest.raises(DatabaseUnusable, match=r"nowhere.*Check") as refused:
        await open_pool(dsn, connections_min=1, connections_max=1)
    assert "sesame" not in str(refused.value)


async def test_says_what_to_do_when_there_is_no_server() -> None:
    with pytest.raises(DatabaseUnusable, match="Check that the server runs"):
        await open_pool("postgresql://127.0.0.1:1/horde", connections_min=1, connections_max=1)


async def test_an_old_server_is_refused() -> None:
    class OldConnection:
        def get_server_version(self) -> SimpleNamespace:
            return SimpleNamespace(major=14, minor=9)

    with pytest.raises(DatabaseUnusable, match=r"PostgreSQL 14\.9 is too old: at least 15"):
        await prepare_connection(OldConnection())
