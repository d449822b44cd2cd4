# SPDX-License-Identifier: AGPL-3.0-or-later
"""Migrations: numbered SQL files, applied in order, once, by one server at a time.

In the folder with the SQL (of a package: its `sql`):

    schema.sql                           the schema of a fresh install
    migrations/0001_before_NAME.sql      applied before new code is deployed
    migrations/0002_after_NAME.sql       applied when no old code runs any more

Old code must live with what a `before` migration does; an `after` migration removes what only old
code needed. The first migration is the schema of the first release. A migration runs in one
transaction, so `create index concurrently` has no place in one.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources.abc import Traversable
from typing import Literal, NamedTuple

import asyncpg

from openhorde.server.kit.queries import SCHEMA_FILE, load_queries, sql_folder

Phase = Literal["before", "after", "all"]

# What `upgrade` and `pending` call the making of a fresh database.
FRESH = "schema"

_FILE_NAME = re.compile(r"(\d{4})_((before|after)_[a-z0-9_]+)\.sql")
# Any number that nobody else locks; these are the bytes of "migrate".
_LOCK = int.from_bytes(b"migrate")
_QUERIES = load_queries("openhorde.server.kit")


class Migration(NamedTuple):
    """One file: `phase` is before or after, `name` is phase_NAME."""

    number: int
    phase: str
    name: str
    sql: str

    @property
    def label(self) -> str:
        """The file's name without its ending."""
        return f"{self.number:04}_{self.name}"


class MigrationRefused(Exception):
    """The database cannot be brought up to date; the text says what to do."""


def load_migrations(source: str | Traversable) -> list[Migration]:
    """All migrations of a package or folder, in order. MigrationRefused where a name is wrong."""
    folder = sql_folder(source) / "migrations"
    migrations: dict[int, Migration] = {}
    for entry in folder.iterdir() if folder.is_dir() else ():
        if not entry.name.endswith(".sql"):
            continue
        match = _FILE_NAME.fullmatch(entry.name)
        if not match:
            raise MigrationRefused(
                f"{entry.name}: a migration is called 0001_before_NAME.sql or 0001_after_NAME.sql"
            )
        number = int(match[1])
        if number in migrations:
            raise MigrationRefused(f"two migrations have the number {match[1]}: rename the later")
        migrations[number] = Migration(
            number, match[3], match[2], entry.read_text(encoding="utf-8")
        )
    return [migrations[number] for number in sorted(migrations)]


async def upgrade(
    connection: asyncpg.Connection, source: str | Traversable, *, phase: Phase = "all"
) -> list[str]:
    """Bring the database up to date; the labels of what was applied, in order.

    A fresh database gets `schema.sql` whatever the phase (the answer is then ["schema"]). Else the
    pending migrations of the phase are applied, each in its own transaction: when one fails, those
    before it stay applied. Whoever comes at the same time waits, and then finds nothing to do.

    `connection` is in no transaction, and keeps its session throughout (behind pgbouncer in
    transaction mode the lock would not hold). Raises MigrationRefused, or asyncpg's errors from
    the statements themselves.
    """
    migrations = load_migrations(source)
    async with _alone(connection):
        if not await connection.fetchval(_QUERIES["has_migrations_table"].sql):
            schema = (sql_folder(source) / SCHEMA_FILE).read_text(encoding="utf-8")
            await _set_up(connection, schema, migrations)
            return [FRESH]
        missing = _missing(migrations, await _applied(connection))
        chosen = _choose(missing, phase)
        for migration in chosen:
            await _apply(connection, migration)
        return [migration.label for migration in chosen]


async def pending(connection: asyncpg.Connection, source: str | Traversable) -> list[str]:
    """The labels of what is yet to be applied, in order; ["schema"] for a fresh database."""
    migrations = load_migrations(source)
    if not await connection.fetchval(_QUERIES["has_migrations_table"].sql):
        return [FRESH]
    return [m.label for m in _missing(migrations, await _applied(connection))]


async def replay(connection: asyncpg.Connection, source: str | Traversable) -> list[str]:
    """Build an empty database by migrations alone; their labels.

    With `describe_schema` a test proves that both ways lead to the same schema.
    """
    migrations = load_migrations(source)
    async with _alone(connection):
        await _set_up(connection, "", [])
        for migration in migrations:
            await _apply(connection, migration)
    return [migration.label for migration in migrations]


async def describe_schema(connection: asyncpg.Connection) -> list[str]:
    """All that makes up the current schema, in sorted lines: equal lists are equal schemas.

    Tables with their options, columns, constraints, indexes, triggers, rules, policies, views,
    sequences, functions, enums, domains, comments, extensions. The order of columns is left out
    (a migration can only append), and so is the migrations' own table.
    """
    rows = await connection.fetch(_QUERIES["describe_schema"].sql)
    return [row["line"] for row in rows]


@asynccontextmanager
async def _alone(connection: asyncpg.Connection) -> AsyncIterator[None]:
    await connection.execute(_QUERIES["lock_migrations"].sql, _LOCK)
    try:
        yield
    finally:
        # A connection that broke has lost its lock with its session.
        if not connection.is_closed():
            await connection.execute(_QUERIES["unlock_migrations"].sql, _LOCK)


async def _set_up(
    connection: asyncpg.Connection, schema: str, migrations: Sequence[Migration]
) -> None:
    async with connection.transaction():
        if await connection.fetchval(_QUERIES["count_foreign_tables"].sql):
            raise MigrationRefused(
                "the database holds tables that are not ours (there is no schema_migrations)."
                " Give an empty database: create one with `createdb` and put its name in the DSN."
            )
        await connection.execute(_QUERIES["create_migrations_table"].sql)
        await _run(connection, schema)
        for migration in migrations:
            await connection.execute(
                _QUERIES["record_migration"].sql, migration.number, migration.name
            )


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    async with connection.transaction():
        await _run(connection, migration.sql)
        await connection.execute(_QUERIES["record_migration"].sql, migration.number, migration.name)


async def _run(connection: asyncpg.Connection, script: str) -> None:
    # asyncpg stumbles over a script that holds only comments: this gives it an answer to read.
    await connection.execute(f"{script}\n;select")


async def _applied(connection: asyncpg.Connection) -> Mapping[int, str]:
    rows = await connection.fetch(_QUERIES["list_applied_migrations"].sql)
    return {row["number"]: row["name"] for row in rows}


def _missing(migrations: Sequence[Migration], applied: Mapping[int, str]) -> list[Migration]:
    """What is not applied yet. Applied ones that this code does not know are a newer release's."""
    for migration in migrations:
        known_as = applied.get(migration.number, migration.name)
        if known_as != migration.name:
            raise MigrationRefused(
                f"the database knows migration {migration.number:04} as {known_as!r}, this release"
                f" as {migration.name!r}: it was set up by another branch. Use that branch, or a"
                " fresh database."
            )
    return [migration for migration in migrations if migration.number not in applied]


def _choose(missing: Sequence[Migration], phase: Phase) -> list[Migration]:
    if phase == "all":
        return list(missing)
    chosen = [migration for migration in missing if migration.phase == phase]
    for migration in missing:
        if chosen and migration.phase != phase and migration.number < chosen[-1].number:
            raise MigrationRefused(
                f"{migration.label} comes before {chosen[-1].label}: releases were skipped. Stop"
                " all servers, upgrade with phase 'all', and start them again."
            )
    return chosen
