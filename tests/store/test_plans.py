# SPDX-License-Identifier: AGPL-3.0-or-later
"""PostgreSQL plans each statement once, for any arguments: no plan may read a table that grows."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from cast import Cast, ask, delivery, take

from openhorde.server.actions import work
from openhorde.server.actions.horde import Horde
from openhorde.server.tasks import count_deliveries, fold_ledger

ROWS = 20_000

GROWING = (
    "requests",
    "jobs",
    "transfers",
    "ledger_blocks",
    "user_entries",
    "deliveries",
    "webhook_calls",
)

WHOLE = {
    # What `horde ledger verify` asks, and the first block of a ledger from before there were any.
    "drifting_accounts": {"transfers"},
    "drifting_buckets": {"transfers"},
    "misplaced_transfers": {"ledger_blocks"},
    "transfers_never_sealed": {"transfers"},
    # When a server starts.
    "median_started_ranks": {"jobs"},
}
"""What reads a whole table, and has to."""


async def multiply(horde: Horde, table: str, where: str = "true", **own: str) -> None:
    """Make many rows of one that is there; `own` are columns that differ, as SQL of a number n."""
    columns = [
        row["name"]
        for row in await horde.pool.fetch(
            "select attname as name from pg_attribute where attrelid = $1::text::regclass"
            " and attnum > 0 and attgenerated = '' and attidentity = ''",
            table,
        )
    ]
    values = ", ".join(own.get(column, f"t.{column}") for column in columns)
    await horde.pool.execute(
        f"insert into {table} ({', '.join(columns)}) select {values}"
        f" from (select * from {table} where {where} limit 1) t, generate_series(1, {ROWS}) n"
    )


async def fill(horde: Horde, cast: Cast) -> None:
    """A horde that has been busy for a day: much waits, as much was done and is remembered."""
    alice, bob = await cast.alice(), await cast.bob()
    await ask(horde, alice, webhook="https://alice.example/done")
    for job_id in await take(horde, bob):
        await work.deliver(horde, bob, delivery(job_id))
    await count_deliveries.run(horde)
    await fold_ledger.run(horde)
    await ask(horde, alice)
    ended, waits = "md5('ended' || n)::uuid", "md5('waits' || n)::uuid"
    age, user = "now() - n * interval '5 seconds'", "n % 1000"
    await multiply(horde, "requests", "ended_at is not null", id=ended, ended_at=age, user_id=user)
    await multiply(horde, "requests", "ended_at is null", id=waits, created_at=age, user_id=user)
    done = {"id": "md5('done' || n)::uuid", "request_id": ended, "user_id": user}
    await multiply(horde, "jobs", "state = 'done'", **done)
    waiting = {"id": waits, "request_id": waits, "user_id": user, "rank": "n", "lane": "n % 500"}
    await multiply(horde, "jobs", "state = 'waiting'", **waiting)
    await multiply(horde, "transfers", source_id=ended, debit="n % 1000", credit="1000 + n % 1000")
    await multiply(horde, "ledger_blocks", number="1000 + n")
    await multiply(horde, "user_entries", user_id=user, block="1000 + n")
    await multiply(horde, "deliveries", delivered_at=age, worker_id="md5((n % 500)::text)::uuid")
    await multiply(horde, "webhook_calls", id=waits, request_id=ended, due_at=age, created_at=age)
    call = {"id": ended, "state": "'delivered'", "ended_at": age, "created_at": age}
    await multiply(horde, "webhook_calls", request_id=waits, **call)
    await horde.pool.execute("vacuum analyze")


def whole_reads(plan: dict[str, Any]) -> Iterator[str]:
    """The tables that grow and that a plan reads from end to end."""
    if plan["Node Type"] == "Seq Scan" and plan["Relation Name"] in GROWING:
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from whole_reads(part)


async def test_no_plan_reads_a_whole_table_that_grows(horde: Horde, cast: Cast) -> None:
    await fill(horde, cast)
    found: dict[str, set[str]] = {}
    async with horde.pool.acquire() as connection:
        for name, query in horde.queries.items():
            await connection.execute(f"prepare {name} as {query.sql}")
            count = max((int(number) for number in re.findall(r"\$(\d+)", query.sql)), default=0)
            arguments = f"({', '.join(['null'] * count)})" if count else ""
            text = await connection.fetchval(f"explain (format json) execute {name}{arguments}")
            (plan,) = msgspec.json.decode(text)
            found[name] = set(whole_reads(plan["Plan"]))
    assert {name: tables for name, tables in found.items() if tables} == WHOLE
