# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may send kudos to whom (rules 3.10), and when monthly kudos are due (rules 3.11)."""

from calendar import monthrange
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from msgspec import Struct

from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.trust import SUSPICIONS_MAX

RETURN_SECONDS: Final = 60
"""For so long nothing is sent back to who has just sent something."""

MODERATORS_MONTHLY_MILLI: Final = 300_000_000
_TRANSFERS: Final = UUID("6f3c0c4e-3c0e-5d53-9d4c-6d2c1b0f7a10")
_GRANTS: Final = UUID("6f3c0c4e-3c0e-5d53-9d4c-6d2c1b0f7a11")


class Party(Struct, frozen=True, kw_only=True):
    """One side of a transfer."""

    user_id: int
    anonymous: bool = False
    trusted: bool = False
    flagged: bool = False
    education: bool = False
    deleted: bool = False
    suspicion: int = 0

    @property
    def suspicious(self) -> bool:
        """Too much was held against it; trusted accounts are above that."""
        return self.suspicion >= SUSPICIONS_MAX and not self.trusted


def check_receiver(sender: Party, receiver: Party) -> None:
    """Refuses a receiver that nobody may send to, or not this sender."""
    if receiver.anonymous:
        raise Refusal("KudosTransferToAnon")
    if receiver.user_id == sender.user_id:
        raise Refusal("KudosTransferToSelf")


def check_transfer(
    sender: Party, receiver: Party, amount: int, *, returned: bool, key_taken: bool
) -> None:
    """Refuses what may not be sent; the order of the checks is the wire's.

    `returned`: the receiver has sent kudos to the sender within `RETURN_SECONDS`. `key_taken`: the
    idempotency key stands for another transfer. `amount` is kudos.
    """
    refusals = (
        (returned, "TooFastKudosTransfers"),
        (sender.suspicious, "FaultWhenKudosSending"),
        (sender.flagged, "SourceAccountFlagged"),
        (sender.education, "EducationCannotSendKudos"),
        (receiver.suspicious, "FaultWhenKudosReceiving"),
        (receiver.flagged, "TargetAccountFlagged"),
        (receiver.deleted or sender.deleted, "DeletedUser"),
        (amount < 0, "NegativeKudosTransfer"),
        (amount == 0, "InvalidKudosTransferAmount"),
        (key_taken, "IdempotencyKeyConflict"),
    )
    for refused, code in refusals:
        if refused:
            raise Refusal(code)


def transfer_id(sender: int, key: str) -> UUID:
    """The id of the one transfer that a sender's idempotency key stands for."""
    return uuid5(_TRANSFERS, f"{sender} {key}")


def monthly_milli(stored_milli: int, *, moderator: bool) -> int:
    """What an account is granted each month, in thousandths."""
    return max(0, stored_milli) + (MODERATORS_MONTHLY_MILLI if moderator else 0)


def month_later(moment: datetime) -> datetime:
    """The same day and time of the next month, or that month's last day."""
    year, month = moment.year + moment.month // 12, moment.month % 12 + 1
    day = min(moment.day, monthrange(year, month)[1])
    return moment.replace(year=year, month=month, day=day)


def grant_due(received_at: datetime | None, now: datetime) -> datetime | None:
    """The moment for which a grant is due, or None. One month at a time, arrears included."""
    if received_at is None:
        return now
    due = month_later(received_at)
    return due if due <= now else None


def grant_id(user_id: int, due: datetime) -> UUID:
    """The id of a user's grant of a month: nobody is granted a month twice."""
    return uuid5(_GRANTS, f"{user_id} {due:%Y-%m}")
