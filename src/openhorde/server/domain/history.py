# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a transfer means to one of its two sides, in words."""

from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from openhorde.server.domain.ledger import Transfer, balance_account, escrow_account, user_of

Effect = Literal["balance", "escrow", "hold"]

_OF_A_JOB: Final = frozenset({"price", "tax", "reward"})
_JOB_ID_VERSION: Final = 7
_WHY: Final[dict[str, str]] = {
    "reserve": "Held for a request until its jobs are done.",
    "release": "No longer held: what a request had reserved and not used.",
    "activation": "Tax of accepting a request.",
    "price": "Price of a delivered job of a request.",
    "tax": "Tax of a delivered job of a request.",
    "reward": "Reward of a job that a worker of this account delivered.",
    "uptime": "Reward of a worker of this account for being online.",
    "escrow": "Earned by a worker of this account; kept until the account is trusted.",
    "trust": "The account is trusted: what was kept for it is paid out.",
    "floor": "Made by the horde, as no balance falls below its floor.",
    "grant": "Made by the horde for this account.",
    "award": "Awarded for services to the horde.",
    "recurring": "Monthly kudos.",
    "admin": "Changed by an administrator.",
}


class Meaning(Struct, frozen=True):
    """A transfer as one user sees it.

    `amount_milli` is what comes to what `effect` names (negative: leaves it); for a hold, what may
    be spent besides. `counterparty` is the other user, where they may be known: of transfers
    only, as nobody is to learn who works for whom.
    """

    amount_milli: int
    effect: Effect
    why: str
    counterparty: int | None
    request_id: UUID | None
    job_id: UUID | None


def meaning(transfer: Transfer, user_id: int) -> Meaning:
    """What a transfer means to a user whose account it touches."""
    effect: Effect = "balance"
    incoming = transfer.credit == balance_account(user_id)
    if transfer.phase != "posted":
        effect, incoming = "hold", transfer.phase == "void"
    elif transfer.credit == escrow_account(user_id):
        effect, incoming = "escrow", True
    other = None
    why = _WHY.get(transfer.purpose, "")
    if transfer.purpose == "transfer":
        other = user_of(transfer.debit if incoming else transfer.credit)
        why = "Received from another user." if incoming else "Sent to another user."
    is_job = transfer.purpose in _OF_A_JOB or (
        transfer.purpose == "escrow" and transfer.source_id.version == _JOB_ID_VERSION
    )
    return Meaning(
        amount_milli=transfer.amount_milli if incoming else -transfer.amount_milli,
        effect=effect,
        why=why,
        counterparty=other,
        request_id=transfer.hold,
        job_id=transfer.source_id if is_job else None,
    )
