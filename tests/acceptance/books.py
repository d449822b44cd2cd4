# SPDX-License-Identifier: AGPL-3.0-or-later
"""The books of a horde, looked into beside its server or after it, and its database killed."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from openhorde.server.kit.database import open_pool
from openhorde.server.kit.postgres import start_embedded
from openhorde.server.kit.queries import load_queries
from openhorde.server.store import kudos
from openhorde.server.store.statements import Statements


@asynccontextmanager
async def database(data: Path) -> AsyncIterator[tuple[asyncpg.Pool, Statements]]:
    """The server's own database, beside it or after it."""
    embedded = await start_embedded(data / "postgres")
    try:
        pool = await open_pool(embedded.dsn, connections_min=1, connections_max=1)
        yield pool, Statements(pool, load_queries("openhorde.server.store"))
        await pool.close()
    finally:
        await embedded.stop()


async def unfolded(data: Path) -> int:
    """How many bookings no balance shows yet."""
    async with database(data) as (_, statements):
        return (await kudos.ledger_totals(statements))[1]


async def assert_sound(pool: asyncpg.Pool, statements: Statements) -> None:
    """Jobs and money agree, to the last thousandth, and nothing is held any more."""
    assert await kudos.ledger_totals(statements) == (0, 0)
    assert await kudos.drifting_accounts(statements) == []
    for user in await pool.fetch(
        "select id, balance_milli from users join accounts on number = 2 * id"
    ):
        assert await kudos.available_milli(statements, user["id"]) == user["balance_milli"]
    jobs = await pool.fetch("select id, paid_milli from jobs where state = 'done'")
    done = {job["id"]: job["paid_milli"] for job in jobs}
    rewards = await pool.fetch("select source_id from transfers where purpose = 'reward'")
    assert sorted(row["source_id"] for row in rewards) == sorted(done)
    charged = await pool.fetch(
        "select source_id, sum(amount_milli)::bigint as milli from transfers"
        " where purpose in ('price', 'tax') group by 1"
    )
    assert {row["source_id"]: row["milli"] for row in charged} == done


def postmaster(data: Path) -> int:
    """The id of the database's first process; 0 when there is none."""
    try:
        text = (data / "postgres" / "cluster" / "postmaster.pid").read_text(encoding="utf-8")
        return int(text.splitlines()[0])
    except (OSError, ValueError, IndexError):
        return 0


def kill_postgres(data: Path) -> None:
    """SIGKILL the database's first process."""
    os.kill(postmaster(data), signal.SIGKILL)
