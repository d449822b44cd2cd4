# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls of webhooks: an outbox that deliveries fill, and the log of what became of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from openhorde.server.domain.webhooks import Verdict
from openhorde.server.store.requests import Result
from openhorde.server.store.statements import Statements

HOSTS_MAX = 256
"""So many hosts a claim looks at: it takes a few milliseconds, however many calls wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueCall:
    """A call to be made now, for the `attempts`-th time, and the finished job that it tells of."""

    id: UUID
    kind: str
    request_id: UUID
    url: str
    origin: str
    attempts: int
    inline_results: bool
    reward_milli: int
    created_at: datetime
    job: Result


async def claim(
    statements: Statements,
    *,
    now: datetime,
    again_at: datetime,
    calls_max: int,
    calls_per_host_max: int,
    making: Mapping[str, int],
    after: str,
) -> tuple[list[DueCall], str]:
    """Take calls that are due, of the next hosts after the one given ("": from the first); and
    after which host to go on ("": none is left).

    They are due again at `again_at` unless something is recorded before. `making` counts the calls
    under way. Hosts are told by the beginning of their URLs (`DueCall.origin`).
    """
    rows = await statements.rows(
        "claim_webhook_calls",
        now,
        again_at,
        calls_max,
        calls_per_host_max,
        list(making),
        list(making.values()),
        after,
        HOSTS_MAX,
    )
    calls = [
        DueCall(
            id=row["id"],
            kind=row["kind"],
            request_id=row["request_id"],
            url=row["url"],
            origin=row["origin"],
            attempts=row["attempts"],
            inline_results=row["inline_results"],
            reward_milli=row["reward_milli"],
            created_at=row["created_at"],
            job=Result(
                row["job_id"], row["model"], row["result"], row["worker_id"], row["worker_name"]
            ),
        )
        for row in rows
        if row["id"] is not None
    ]
    return calls, rows[0]["last_origin"] if rows[0]["origins"] == HOSTS_MAX else ""


async def record(
    statements: Statements, call: DueCall, verdict: Verdict, *, status: int | None, now: datetime
) -> None:
    """Note how an attempt went."""
    await statements.run(
        "record_webhook_attempt",
        call.id,
        call.attempts,
        verdict.state,
        verdict.due_at,
        status,
        verdict.error,
        None if verdict.state == "waiting" else now,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCall:
    """A call as the log tells of it. `due_at` is when it is tried next, if it is."""

    id: UUID
    job_id: UUID
    state: Literal["waiting", "delivered", "given_up"]
    attempts: int
    last_status: int | None
    last_error: str | None
    created_at: datetime
    ended_at: datetime | None
    due_at: datetime | None


async def log(statements: Statements, request_id: UUID) -> list[LoggedCall]:
    """The calls of a request, in the order of their jobs' delivery."""
    return [LoggedCall(**row) for row in await statements.rows("webhook_log", request_id)]


async def give_up(
    statements: Statements, *, created_before: datetime, now: datetime, error: str
) -> int:
    """Give up some of the calls from before then that still wait; how many."""
    return int(await statements.value("give_up_webhook_calls", created_before, now, error))


async def purge(statements: Statements, ended_before: datetime) -> int:
    """Forget some of the calls that ended before then; how many."""
    return int(await statements.value("purge_webhook_calls", ended_before))
