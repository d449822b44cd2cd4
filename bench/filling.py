# SPDX-License-Identifier: AGPL-3.0-or-later
"""A queue of any depth, made by SQL from requests that the server itself has stored.

The models for the rows are requests that were really submitted (`templates`): whatever columns
the server fills, the copies have too.
"""

from collections.abc import Sequence

import asyncpg

FIRST_USER = 1_000_000
USERS = 1_000
RANK_STEP = 1_000_000
REQUEST_TAIL = "00000000000a"
JOB_TAIL = "00000000000b"
_OWN = ("id", "user_id", "start_tag", "finish_tag", "created_at")


def id_of(number: str, tail: str) -> str:
    """SQL for a UUID that grows with a number: 12 hex digits of it, then the tail's 12."""
    return f"(lpad(to_hex(({number})::bigint), 12, '0') || '70008000' || {tail})::uuid"


class Queue:
    """The waiting jobs of one database, which nothing but this bench uses."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._copied = ""
        self._next = 1

    async def keep_templates(self, weights: Sequence[int]) -> None:
        """Make templates of the requests that are there (in the order of the weights), and empty
        the queue."""
        run = self._connection.execute
        await run(
            "create table bench_templates as select t.* from ("
            " select r.*, row_number() over (order by created_at, id) as number from requests r"
            ") as t, unnest($1::int[]) with ordinality as w (weight, number),"
            " generate_series(1, w.weight) where w.number = t.number",
            list(weights),
        )
        await run(
            "alter table bench_templates add place int generated always as identity (start 1)"
        )
        await run("analyze bench_templates")
        columns = await self._connection.fetch(
            "select column_name from information_schema.columns"
            " where table_name = 'requests' and table_schema = 'public' and column_name <> all($1)",
            list(_OWN),
        )
        self._copied = ", ".join(row["column_name"] for row in columns)
        await run(
            "insert into users (id, username, provider_id, key_hash)"
            " select $1 + n, 'asker', 'bench_' || n, sha256(('bench' || n)::bytea)"
            " from generate_series(0, $2 - 1) as n",
            FIRST_USER,
            USERS,
        )
        await run(
            "insert into accounts (number) select 2 * ($1 + n)::bigint + leg"
            " from generate_series(0, $2 - 1) as n, generate_series(0, 1) as leg",
            FIRST_USER,
            USERS,
        )
        await self.clear()

    @property
    def next_number(self) -> int:
        """The number that the next request gets."""
        return self._next

    async def clear(self) -> None:
        """Forget all requests and jobs."""
        await self._connection.execute("truncate requests, jobs")

    async def waiting(self, lanes: Sequence[int] | None = None) -> int:
        """How many jobs wait, of all lanes or of some."""
        return int(
            await self._connection.fetchval(
                "select count(*) from jobs where state = 'waiting'"
                " and ($1::int[] is null or lane = any ($1))",
                lanes,
            )
        )

    async def done(self) -> int:
        """How many jobs are done."""
        return int(
            await self._connection.fetchval("select count(*) from jobs where state = 'done'")
        )

    async def fill(self, count: int, lanes: Sequence[int] | None = None) -> None:
        """Let `count` more requests wait, over all lanes or some, by a thousand users in turn."""
        first = self._next
        wanted = "($3::int[] is null or lane = any ($3))"
        await self._connection.execute(
            self._insertion(
                "(select t.*, row_number() over (order by place) - 1 as turn from bench_templates t"
                f" where {wanted}) as t"
                " join generate_series($1::bigint, $1 + $2::bigint - 1) as s (n)"
                f" on t.turn = s.n % (select count(*) from bench_templates where {wanted})"
            ),
            first,
            count,
            lanes,
            timeout=300,
        )
        self._next += count
        await self._connection.execute("vacuum analyze requests, jobs")

    async def refill(self) -> int:
        """Put a new request of the same sort at the end of the queue for each that was taken."""
        taken = await self._connection.fetch(
            "with gone as (delete from jobs where state <> 'waiting' returning request_id)"
            " delete from requests r using gone where r.id = gone.request_id returning r.lane"
        )
        if taken:
            await self._connection.execute(
                self._insertion(
                    "unnest($2::int[]) with ordinality as taken (lane, turn)"
                    " cross join lateral (select * from bench_templates b"
                    " where b.lane = taken.lane limit 1) as t"
                    " cross join lateral (select $1::bigint + taken.turn - 1 as n) as s"
                ),
                self._next,
                [row["lane"] for row in taken],
            )
            self._next += len(taken)
        return len(taken)

    async def request_ids(self, count: int) -> list[str]:
        """Some that wait, from anywhere in the queue."""
        rows = await self._connection.fetch(
            "select request_id::text as id from jobs where state = 'waiting'"
            " order by random() limit $1",
            count,
        )
        return [row["id"] for row in rows]

    def _insertion(self, source: str) -> str:
        request_id = id_of("s.n", f"'{REQUEST_TAIL}'")
        job_id = id_of("s.n", f"'{JOB_TAIL}'")
        copied = ", ".join(f"t.{name}" for name in self._copied.split(", "))
        return (
            f"with made as (insert into requests ({self._copied}, id, user_id, start_tag,"
            f" finish_tag) select {copied}, {request_id}, {FIRST_USER} + s.n % {USERS},"
            f" s.n * {RANK_STEP}, (s.n + 1) * {RANK_STEP} from {source})"
            " insert into jobs (id, request_id, kind, lane, rank, user_id, ordinal, things)"
            f" select {job_id}, {request_id}, t.kind, t.lane, s.n * {RANK_STEP},"
            f" {FIRST_USER} + s.n % {USERS}, 1, t.things from {source}"
        )
