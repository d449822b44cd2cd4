# SPDX-License-Identifier: AGPL-3.0-or-later
"""Connections are lent fairly, come back whatever happens, and are replaced when they die."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from openhorde.server.kit.database import open_pool
from openhorde.server.kit.lending import Lender


@pytest.fixture
async def pool(fresh_database: str) -> AsyncIterator[asyncpg.Pool]:
    """Three connections."""
    opened = await open_pool(fresh_database, connections_min=1, connections_max=3)
    yield opened
    await asyncio.wait_for(opened.close(), timeout=30)


async def test_many_statements_share_few_connections(pool: asyncpg.Pool) -> None:
    lender = Lender(pool, 2)
    pids = await asyncio.gather(
        *(lender.fetchval("select pg_backend_pid() from pg_sleep(0.001)") for _ in range(40))
    )
    assert len(set(pids)) == 2
    assert await pool.fetchval("select 1") == 1  # One is left to others.
    assert await lender.fetchrow("select 1 where false") is None
    assert [row["n"] for row in await lender.fetch("select n from generate_series(1, 3) n")] == [
        1,
        2,
        3,
    ]
    await lender.close()


async def test_what_fails_costs_no_connection(pool: asyncpg.Pool) -> None:
    lender = Lender(pool, 1)
    for _ in range(5):
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await lender.execute("selec 1")
        with pytest.raises(ZeroDivisionError):
            async with lender.acquire() as connection, connection.transaction():
                raise ZeroDivisionError
    assert await lender.fetchval("select 1") == 1
    await lender.close()


async def test_a_connection_that_died_is_replaced(pool: asyncpg.Pool) -> None:
    lender = Lender(pool, 1)
    pid = await lender.fetchval("select pg_backend_pid()")
    await pool.execute("select pg_terminate_backend($1)", pid)
    while True:
        try:
            other = await lender.fetchval("select pg_backend_pid()")
        except (asyncpg.PostgresConnectionError, asyncpg.InternalClientError):
            continue  # The driver has two ways of seeing that the server hung up.
        break
    assert other != pid
    await lender.close()


async def test_who_gives_up_waiting_takes_nothing_along(pool: asyncpg.Pool) -> None:
    lender = Lender(pool, 1)
    async with lender.acquire():
        waiting = [asyncio.create_task(lender.fetchval("select 1")) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
    waiting[1].cancel()
    assert await asyncio.wait_for(waiting[2], timeout=30) == 1
    assert await asyncio.wait_for(lender.fetchval("select 2"), timeout=30) == 2
    await lender.close()


async def test_a_call_that_is_cancelled_does_not_spoil_the_connection(pool: asyncpg.Pool) -> None:
    lender = Lender(pool, 1)
    call = asyncio.create_task(lender.fetchval("select 1 from pg_sleep(60)"))
    while not await pool.fetchval(
        "select exists (select from pg_stat_activity where query = 'select 1 from pg_sleep(60)')"
    ):
        pass
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await asyncio.wait_for(lender.fetchval("select 3"), timeout=30) == 3
    await lender.close()


async def test_everybody_waits_in_turn(pool: asyncpg.Pool) -> None:
    lender = Lender(pool, 1)
    served: list[int] = []

    async def call(number: int) -> None:
        await lender.fetchval("select 1")
        served.append(number)

    async with lender.acquire():
        calls = [asyncio.create_task(call(number)) for number in range(10)]
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*calls), timeout=30)
    assert served == sorted(served)
    await lender.close()
