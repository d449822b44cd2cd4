# SPDX-License-Identifier: AGPL-3.0-or-later
"""One leads, another takes over, and nobody leads without a connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import asyncpg

from openhorde.server.kit.leadership import lead

LOCK = 1
TRY_AGAIN_SECONDS = 0.02


class Work:
    """Notes when it is begun and cancelled."""

    def __init__(self) -> None:
        self.begun = 0
        self.running = asyncio.Event()
        self.idle = asyncio.Event()

    async def __call__(self) -> None:
        """Work until cancelled."""
        self.begun += 1
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.running.clear()
            self.idle.set()


@asynccontextmanager
async def candidate(dsn: str, work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Somebody who would lead."""
    trying = asyncio.create_task(lead(dsn, LOCK, work, try_again_seconds=TRY_AGAIN_SECONDS))
    try:
        yield
    finally:
        trying.cancel()
        with suppress(asyncio.CancelledError):
            await trying


async def leaders(dsn: str) -> list[int]:
    """The PostgreSQL processes of those who would lead or do, once there are any."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "select pid from pg_stat_activity"
            " where application_name = 'openhorde leader' and datname = current_database()"
        )
    finally:
        await connection.close()
    return [row["pid"] for row in rows]


async def kick(dsn: str) -> None:
    """End the connections of all who lead or would."""
    connection = await asyncpg.connect(dsn)
    try:
        for pid in await leaders(dsn):
            await connection.execute("select pg_terminate_backend($1)", pid)
    finally:
        await connection.close()


async def test_one_of_two_leads_and_the_other_takes_over(fresh_database: str) -> None:
    one, two = Work(), Work()
    async with candidate(fresh_database, two):
        async with candidate(fresh_database, one):
            first = asyncio.create_task(one.running.wait())
            second = asyncio.create_task(two.running.wait())
            await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
            while len(await leaders(fresh_database)) < 2:
                pass
            assert one.running.is_set() != two.running.is_set()
            first.cancel()
            second.cancel()
        await two.running.wait()
        assert not one.running.is_set()
    assert one.begun + two.begun <= 2


async def test_who_loses_the_connection_stops_and_begins_anew(fresh_database: str) -> None:
    work = Work()
    async with candidate(fresh_database, work):
        await work.running.wait()
        await kick(fresh_database)
        await work.idle.wait()
        await work.running.wait()
    assert work.begun == 2


async def test_work_that_fails_is_not_hidden(fresh_database: str) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    trying = asyncio.create_task(lead(fresh_database, LOCK, fail))
    await asyncio.wait({trying})
    assert isinstance(trying.exception(), ZeroDivisionError)


async def test_a_database_that_is_away_is_waited_for(fresh_database: str) -> None:
    work = Work()
    name = urlsplit(fresh_database).path[1:]
    async with candidate(fresh_database.replace(f"/{name}?", f"/{name}_later?", 1), work):
        connection = await asyncpg.connect(fresh_database)
        try:
            await connection.execute(f"create database {name}_later")
            await work.running.wait()
        finally:
            await connection.close()
    await _drop(fresh_database, f"{name}_later")


async def _drop(dsn: str, name: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"drop database {name} with (force)")
    finally:
        await connection.close()
