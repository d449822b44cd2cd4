# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kudos: sending and awarding them, an account's history, the signed roots of the ledger."""

from datetime import UTC, date, datetime
from typing import Annotated

from msgspec import Meta, Struct

from openhorde.server.actions import history as history_actions
from openhorde.server.actions import kudos as actions
from openhorde.server.actions.history import Line
from openhorde.server.api.operations import Bucket, Call, Limit, Operation, Who
from openhorde.server.store import chain
from openhorde.wire.bounds import AccountName
from openhorde.wire.kudos import (
    HistoryEntry,
    KudosAward,
    KudosAwarded,
    KudosHistory,
    KudosTransfer,
    KudosTransferred,
    LedgerRoot,
)
from openhorde.wire.requests import PriceLine

ROOTS_MAX = 1000


class HistoryQuery(Struct, kw_only=True):
    """Which page: `before` is the `next` of the page before. `user` is for moderators."""

    user: AccountName | None = None
    before: Annotated[str, Meta(pattern=r"^[0-9]{1,18}-[0-9]{1,9}$", max_length=28)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class RootsQuery(Struct, kw_only=True):
    """Which roots: the newest before a day (YYYY-MM-DD)."""

    before: date | None = None


async def post_transfer(call: Call) -> KudosTransferred:
    """Send kudos; the header Idempotency-Key makes it safe to send the call again."""
    body: KudosTransfer = call.body
    key = call.headers.get(b"idempotency-key", b"").decode("latin-1")
    await actions.send(call.horde, call.caller, body.username, body.amount, key or None)
    return KudosTransferred(transferred=body.amount)


async def post_award(call: Call) -> KudosAwarded:
    """Make kudos for somebody."""
    body: KudosAward = call.body
    await actions.award(call.horde, call.caller, body.username, body.amount)
    return KudosAwarded(awarded=body.amount)


async def get_history(call: Call) -> KudosHistory:
    """What happened to an account's kudos."""
    query: HistoryQuery = call.query
    before = None
    if query.before is not None:
        block, _, position = query.before.partition("-")
        before = int(block), int(position)
    page = await history_actions.history(call.horde, call.caller, query.user, before, query.limit)
    return KudosHistory(
        entries=[_entry(line) for line in page.lines],
        next=f"{page.next[0]}-{page.next[1]}" if page.next else None,
    )


async def get_roots(call: Call) -> list[LedgerRoot]:
    """The signed roots of the ledger."""
    query: RootsQuery = call.query
    return [
        LedgerRoot(
            day=root.day.isoformat(),
            block=root.block,
            hash=root.hash.hex(),
            public_key=root.public_key.hex(),
            signature=root.signature.hex(),
            signed_at=None if root.signed_at is None else _time(root.signed_at),
        )
        for root in await chain.roots(call.horde.statements, query.before, ROOTS_MAX)
    ]


def _entry(line: Line) -> HistoryEntry:
    means = line.meaning
    return HistoryEntry(
        time=_time(line.recorded_at),
        amount=means.amount_milli / 1000,
        effect=means.effect,
        purpose=line.purpose,
        why=means.why,
        counterparty=line.counterparty,
        request_id=str(means.request_id) if means.request_id else None,
        job_id=str(means.job_id) if means.job_id else None,
        lines=None
        if line.lines is None
        else [PriceLine(label=each.label, kudos=each.milli / 1000) for each in line.lines],
    )


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


OPERATIONS = (
    Operation(
        name="post_transfer_kudos",
        method="POST",
        path="/api/v2/kudos/transfer",
        handler=post_transfer,
        summary="Send kudos to another user; a header Idempotency-Key makes repeating it harmless",
        tag="kudos",
        who=Who.USER,
        body=KudosTransfer,
        refuses_null=True,
        answer=KudosTransferred,
        limits=(
            Limit("1/second", Bucket.KEY_AND_PATH),
            Limit("90/hour", Bucket.KEY_AND_PATH, rate_welcome="600/hour"),
        ),
        refusals=(
            "InvalidAPIKey",
            "KudosTransferFromAnon",
            "InvalidTargetUsername",
            "KudosTransferToAnon",
            "KudosTransferToSelf",
            "TooFastKudosTransfers",
            "FaultWhenKudosSending",
            "SourceAccountFlagged",
            "EducationCannotSendKudos",
            "FaultWhenKudosReceiving",
            "TargetAccountFlagged",
            "DeletedUser",
            "NegativeKudosTransfer",
            "InvalidKudosTransferAmount",
            "IdempotencyKeyConflict",
            "KudosTransferNotEnough",
        ),
    ),
    Operation(
        name="post_award_kudos",
        method="POST",
        path="/api/v2/kudos/award",
        handler=post_award,
        summary="Make kudos for a user; the horde's first account may",
        tag="kudos",
        who=Who.USER,
        body=KudosAward,
        refuses_null=True,
        answer=KudosAwarded,
        refusals=(
            "InvalidAPIKey",
            "NotAllowedAwards",
            "InvalidAwardUsername",
            "KudosAwardToAnon",
            "TargetAccountFlagged",
            "NegativeKudosTransfer",
            "InvalidKudosTransferAmount",
        ),
    ),
    Operation(
        name="get_kudos_history",
        method="GET",
        path="/api/v2/kudos/history",
        handler=get_history,
        summary="What happened to the kudos of an account, and why; moderators may name another",
        tag="kudos",
        who=Who.USER,
        query=HistoryQuery,
        answer=KudosHistory,
        refusals=("InvalidAPIKey", "AnonForbidden", "NotModerator", "UserNotFound"),
    ),
    Operation(
        name="get_kudos_roots",
        method="GET",
        path="/api/v2/kudos/roots",
        handler=get_roots,
        summary="The signed roots of the ledger, newest first, for whoever wants to keep them",
        tag="kudos",
        query=RootsQuery,
        answer=list[LedgerRoot],
        cache_seconds=10,
    ),
)
