# SPDX-License-Identifier: AGPL-3.0-or-later
"""A queue of any depth, made by SQL from requests that the server itself has stored.

The models for the rows are requests that were really submitted (`templates`): whatever columns
the server fills, the copies have too. A copy may differ from its template in its lane and in what
the request says (`LaneRow`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg
import msgspec

from openhorde.server.domain.needs import Needs

FIRST_USER = 1_000_000
USERS = 1_000
RANK_STEP = 1_000_000
REQUEST_TAIL = "00000000000a"
JOB_TAIL = "00000000000b"
FILL_SECONDS_MAX = 600
PIECE = 50_000
"""Requests that one statement of a filling makes."""

_OWN = ("id", "user_id", "body", "start_tag", "finish_tag", "created_at")
_LANE_COLUMNS = ("kind", "signature", "words", "sizes", "models", "workers", "workers_excluded")


class LaneRow(NamedTuple):
    """A lane to be made: its needs, the template (from 0) that it takes all else from, and the
    body of its requests."""

    needs: Needs
    template: int
    body: str


def id_of(number: str, tail: str) -> str:
    """SQL for a UUID that grows with a number: 12 hex digits of it, then the tail's 12."""
    return f"(lpad(to_hex(({number})::bigint), 12, '0') || '70008000' || {tail})::uuid"


class Queue:
    """The waiting jobs of one database, which nothing but this bench uses."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._copied = ""
        self._next = 1
        self._turns: list[int] = []
        self.templates: list[int] = []
        """The lanes of the templates, in order."""

    async def keep_templates(self, weights: Sequence[int]) -> None:
        """Make templates of the requests that are there (in the order of the weights), and empty
        the queue."""
        run = self._connection.execute
        await run(
            "create table bench_templates as"
            " select row_number() over (order by r.created_at, r.id) - 1 as number, r.*,"
            " j.lane, j.things"
            " from requests r join jobs j on j.request_id = r.id and j.ordinal = 1"
        )
        await run(
            "create table bench_lanes as select lane, number as template, body from bench_templates"
        )
        await run("alter table bench_lanes add primary key (lane)")
        rows = await self._connection.fetch("select lane from bench_templates order by number")
        self.templates = [row["lane"] for row in rows]
        self._turns = [
            lane
            for lane, weight in zip(self.templates, weights, strict=True)
            for _ in range(weight)
        ]
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

    async def open_lanes(self, lanes: Sequence[LaneRow]) -> list[int]:
        """Make lanes, unless they are there; their numbers, in the same order."""
        known = {row["signature"] for row in await self._connection.fetch("table lanes")}
        signatures = [lane.needs.signature() for lane in lanes]
        await self._connection.copy_records_to_table(
            "lanes",
            columns=_LANE_COLUMNS,
            records=[
                _lane_record(lane.needs, signature)
                for lane, signature in zip(lanes, signatures, strict=True)
                if signature not in known
            ],
        )
        rows = await self._connection.fetch(
            "select id, signature from lanes where signature = any ($1)", signatures
        )
        numbers = {row["signature"]: row["id"] for row in rows}
        found = [numbers[signature] for signature in signatures]
        await self._connection.executemany(
            "insert into bench_lanes (lane, template, body) values ($1, $2, $3)"
            " on conflict do nothing",
            [(number, lane.template, lane.body) for number, lane in zip(found, lanes, strict=True)],
        )
        await self._connection.execute("vacuum analyze lanes, bench_lanes")
        return found

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

    async def fill(
        self, count: int, turns: Sequence[int] | None = None, *, hot: tuple[int, int] | None = None
    ) -> None:
        """Let `count` more requests wait. Their lanes are `turns`, again and again, or those of the
        templates; they are of a thousand users in turn. With `hot` (user, requests) the first so
        many are of that user; both sorts begin at the same rank, as fair queueing would have it.
        """
        lanes = list(turns or self._turns)
        hot_user, hot_count = hot or (0, 0)
        first, end = self._next, self._next + count
        for start in range(first, end, PIECE):
            share = lanes
            if len(lanes) >= PIECE:
                offset = (start - first) % len(lanes)
                share = (lanes[offset:] + lanes[:offset])[:PIECE]
            await self._connection.execute(
                self._insertion(
                    f"(select n, case when n < $4::bigint + $5::bigint then $6::int"
                    f" else {FIRST_USER} + n % {USERS} end as user_id,"
                    " case when $5 = 0 then n when n < $4 + $5 then n"
                    f" else $4 + (n - $4 - $5) / {USERS} end as place"
                    " from generate_series($1::bigint, $2::bigint) as n) as s"
                    " join unnest($3::int[]) with ordinality as turn (lane, number)"
                    " on turn.number = (s.n - $1) % cardinality($3) + 1"
                ),
                start,
                min(start + PIECE, end) - 1,
                share,
                first,
                hot_count,
                hot_user,
                timeout=FILL_SECONDS_MAX,
            )
        self._next = end
        await self._connection.execute("vacuum analyze requests, jobs", timeout=FILL_SECONDS_MAX)
        if count > PIECE:
            await self._connection.execute("checkpoint", timeout=FILL_SECONDS_MAX)

    async def refill(self) -> int:
        """Put a new request of the same sort at the end of the queue for each that was taken."""
        taken = await self._connection.fetch(
            # Each state by itself, so that the index of running jobs finds them.
            "with gone as ("
            " delete from jobs where state = 'running' returning request_id, lane, user_id)"
            " delete from requests r using gone where r.id = gone.request_id"
            " returning gone.lane, r.user_id"
        )
        if taken:
            await self._connection.execute(
                self._insertion(
                    "(select turn.lane, turn.user_id, $1::bigint + turn.number - 1 as n,"
                    " $1::bigint + turn.number - 1 as place"
                    " from unnest($2::int[], $3::int[]) with ordinality"
                    " as turn (lane, user_id, number)) as s"
                ),
                self._next,
                [row["lane"] for row in taken],
                [row["user_id"] for row in taken],
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
        """SQL for a request and its job from each row of a source: (n, user_id, place, lane)."""
        copied = ", ".join(f"t.{name}" for name in self._copied.split(", "))
        request_id = id_of("n", f"'{REQUEST_TAIL}'")
        job_id = id_of("n", f"'{JOB_TAIL}'")
        return (
            "with source as materialized ("
            f" select {request_id} as id, {job_id} as job_id,"
            f" user_id, place * {RANK_STEP} as rank, lane from {source}"
            f"), made as (insert into requests ({self._copied}, id, user_id, body, start_tag,"
            f" finish_tag) select {copied}, s.id, s.user_id, l.body, s.rank,"
            f" s.rank + {RANK_STEP} from source s join bench_lanes l using (lane)"
            " join bench_templates t on t.number = l.template)"
            " insert into jobs (id, request_id, kind, lane, rank, user_id, ordinal, things)"
            " select s.job_id, s.id, t.kind, s.lane, s.rank, s.user_id, 1, t.things from source s"
            " join bench_lanes l using (lane) join bench_templates t on t.number = l.template"
        )


def _lane_record(needs: Needs, signature: str) -> tuple[object, ...]:
    return (
        needs.kind,
        signature,
        list(needs.words),
        msgspec.json.encode(dict(needs.sizes)).decode(),
        list(needs.models),
        list(needs.workers),
        needs.workers_excluded,
    )
