# SPDX-License-Identifier: AGPL-3.0-or-later
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from openhorde.server.kit.migrations import (
    MigrationRefused,
    describe_schema,
    load_migrations,
    pending,
    replay,
    upgrade,
)

FIRST = """
create type mood as enum ('calm', 'busy');
create table jobs (id bigint primary key, old text, mood mood not null default 'calm');
create index jobs_mood on jobs (mood) where mood = 'busy';
"""
SECOND = "alter table jobs add kudos integer not null default 0 check (kudos >= 0);"
THIRD = "alter table jobs drop old; alter table jobs set (fillfactor = 80);"
SCHEMA = """
create type mood as enum ('calm', 'busy');
create table jobs (
    id bigint primary key,
    kudos integer not null default 0 check (kudos >= 0),
    mood mood not null default 'calm'
) with (fillfactor = 80);
create index jobs_mood on jobs (mood) where mood = 'busy';
"""
ALL = ["0001_before_start", "0002_before_kudos", "0003_after_old"]


@pytest.fixture
def sql(tmp_path: Path) -> Path:
    """The SQL of the third release."""
    (tmp_path / "migrations").mkdir()
    (tmp_path / "schema.sql").write_text(SCHEMA)
    for label, text in zip(ALL, (FIRST, SECOND, THIRD), strict=True):
        (tmp_path / "migrations" / f"{label}.sql").write_text(text)
    return tmp_path


@pytest_asyncio.fixture
async def connection(fresh_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(fresh_database)
    yield connection
    await connection.close()


async def install_first_release(connection: asyncpg.Connection, folder: Path) -> None:
    (folder / "migrations").mkdir(parents=True)
    (folder / "schema.sql").write_text(FIRST)
    (folder / "migrations" / f"{ALL[0]}.sql").write_text(FIRST)
    assert await upgrade(connection, folder) == ["schema"]


async def test_a_fresh_database_gets_the_schema_at_once(
    connection: asyncpg.Connection, sql: Path
) -> None:
    assert await pending(connection, sql) == ["schema"]
    assert await upgrade(connection, sql, phase="before") == ["schema"]
    assert await pending(connection, sql) == []
    assert await upgrade(connection, sql) == []
    rows = await connection.fetch("select number, name from schema_migrations order by number")
    assert [f"{row['number']:04}_{row['name']}" for row in rows] == ALL


async def test_migrations_lead_to_the_schema(connection: asyncpg.Connection, sql: Path) -> None:
    await upgrade(connection, sql)
    fresh = await describe_schema(connection)
    await connection.execute("drop schema public cascade; create schema public")
    assert await replay(connection, sql) == ALL
    assert await describe_schema(connection) == fresh
    assert await pending(connection, sql) == []


@pytest.mark.parametrize(
    "difference",
    [
        "alter table jobs alter kudos drop default",
        "alter table jobs alter kudos drop not null",
        "alter table jobs alter kudos type bigint",
        "alter table jobs drop constraint jobs_kudos_check",
        "alter table jobs reset (fillfactor)",
        "drop index jobs_mood",
        "alter type mood add value 'new'",
        "comment on table jobs is 'work'",
        "create view calm as select * from jobs where mood = 'calm'",
        "create sequence numbers",
        "create function one() returns integer language sql return 1",
        "create domain amount as integer check (value > 0)",
        "create trigger t before update on jobs for each row"
        " execute function suppress_redundant_updates_trigger()",
    ],
)
async def test_any_difference_shows(
    connection: asyncpg.Connection, sql: Path, difference: str
) -> None:
    await upgrade(connection, sql)
    before = await describe_schema(connection)
    await connection.execute(difference)
    assert await describe_schema(connection) != before


async def test_before_and_after_are_applied_apart(
    connection: asyncpg.Connection, sql: Path, tmp_path: Path
) -> None:
    await install_first_release(connection, tmp_path / "first")
    assert await pending(connection, sql) == ALL[1:]
    assert await upgrade(connection, sql, phase="before") == [ALL[1]]
    assert await upgrade(connection, sql, phase="before") == []
    assert await pending(connection, sql) == [ALL[2]]
    assert await upgrade(connection, sql, phase="after") == [ALL[2]]
    assert await pending(connection, sql) == []


async def test_skipped_releases_need_all(
    connection: asyncpg.Connection, sql: Path, tmp_path: Path
) -> None:
    await install_first_release(connection, tmp_path / "first")
    (sql / "migrations" / "0004_before_more.sql").write_text("create table more ()")
    with pytest.raises(MigrationRefused, match=r"0003_after_old comes before.*phase 'all'"):
        await upgrade(connection, sql, phase="before")
    with pytest.raises(MigrationRefused, match="0002_before_kudos comes before"):
        await upgrade(connection, sql, phase="after")
    assert await upgrade(connection, sql) == [*ALL[1:], "0004_before_more"]


async def test_a_failed_migration_leaves_no_trace_and_the_lock_free(
    connection: asyncpg.Connection, sql: Path, tmp_path: Path
) -> None:
    await install_first_release(connection, tmp_path / "first")
    third = sql / "migrations" / f"{ALL[2]}.sql"
    third.write_text("create table half (); select 1/0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await upgrade(connection, sql)
    assert await connection.fetchval("select to_regclass('half')") is None
    assert await pending(connection, sql) == [ALL[2]]
    assert (
        await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0
    )


async def test_servers_that_start_together_do_not_collide(fresh_database: str, sql: Path) -> None:
    connections = [await asyncpg.connect(fresh_database) for _ in range(4)]
    answers = await asyncio.gather(*(upgrade(connection, sql) for connection in connections))
    assert sorted(answers) == [[], [], [], ["schema"]]
    for connection in connections:
        await connection.close()


async def test_a_foreign_database_is_left_alone(connection: asyncpg.Connection, sql: Path) -> None:
    await connection.execute("create table recipes (name text)")
    with pytest.raises(MigrationRefused, match="not ours"):
        await upgrade(connection, sql)
    assert await connection.fetchval("select to_regclass('jobs')") is None


async def test_a_file_may_hold_only_comments(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "schema.sql").write_text("-- SPDX-License-Identifier: AGPL-3.0-or-later")
    assert await pending(connection, tmp_path) == ["schema"]
    assert await upgrade(connection, tmp_path) == ["schema"]
    assert await upgrade(connection, tmp_path) == []


async def test_an_older_release_ignores_newer_migrations(
    connection: asyncpg.Connection, sql: Path
) -> None:
    await upgrade(connection, sql)
    (sql / "migrations" / f"{ALL[2]}.sql").unlink()
    assert await upgrade(connection, sql) == []


async def test_another_branch_is_noticed(connection: asyncpg.Connection, sql: Path) -> None:
    await upgrade(connection, sql)
    (sql / "migrations" / f"{ALL[2]}.sql").rename(sql / "migrations" / "0003_after_other.sql")
    with pytest.raises(MigrationRefused, match="another branch"):
        await upgrade(connection, sql)


@pytest.mark.parametrize("name", ["1_before_a.sql", "0001_during_a.sql", "0001_before_A.sql"])
def test_wrong_names_are_refused(sql: Path, name: str) -> None:
    (sql / "migrations" / name).write_text("select 1")
    with pytest.raises(MigrationRefused, match="is called"):
        load_migrations(sql)


def test_two_migrations_of_one_number_are_refused(sql: Path) -> None:
    (sql / "migrations" / "0002_after_a.sql").write_text("select 1")
    with pytest.raises(MigrationRefused, match="two migrations"):
        load_migrations(sql)
