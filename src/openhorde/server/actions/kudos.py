# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kudos change hands: users send them, and administrators award them."""

from typing import TYPE_CHECKING

from openhorde.server.actions.admins import require_awarder
from openhorde.server.domain import ledger, transfers
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import floor_milli
from openhorde.server.domain.transfers import Party
from openhorde.server.kit.ids import uuid7
from openhorde.server.store import kudos, users

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.statements import Statements
    from openhorde.server.store.users import Account


async def send(
    horde: "Horde", sender: "Account", receiver_name: str, amount: int, key: str | None
) -> None:
    """Send whole kudos to another user, once per `key` of the sender.

    Raises Refusal, see `domain/transfers.py`; InvalidTargetUsername, KudosTransferNotEnough.
    """
    if sender.anonymous:
        raise Refusal("KudosTransferFromAnon")
    receiver = await _find(horde.statements, receiver_name, "InvalidTargetUsername")
    transfers.check_receiver(_party(sender), _party(receiver))
    async with horde.statements.transaction() as statements:
        await kudos.lock_payer(statements, sender.id)
        transfer_id = transfers.transfer_id(sender.id, key) if key else uuid7()
        earlier = await kudos.find_transfer(statements, transfer_id) if key else None
        booked = (ledger.balance_account(receiver.id), amount * 1000)
        if earlier == booked:
            return
        # Known for some seconds is not good enough where money leaves.
        payer = await users.account_by_id(statements, sender.id)
        assert payer is not None
        returned = await kudos.has_sent(
            statements, receiver.id, sender.id, transfers.RETURN_SECONDS
        )
        transfers.check_transfer(
            _party(payer),
            _party(receiver),
            amount,
            returned=returned,
            key_taken=earlier is not None,
        )
        await _check_cover(statements, payer, amount)
        moved = ledger.transfer(
            transfer_id, sender.id, receiver.id, amount * 1000, donated=receiver.education
        )
        await kudos.book(statements, moved)


async def award(horde: "Horde", caller: "Account", receiver_name: str, amount: int) -> None:
    """Make kudos for a user who has done the horde a service. Administrators may.

    Raises Refusal: NotAllowedAwards, InvalidAwardUsername, KudosAwardToAnon, TargetAccountFlagged,
    NegativeKudosTransfer, InvalidKudosTransferAmount.
    """
    require_awarder(horde, caller)
    receiver = await _find(horde.statements, receiver_name, "InvalidAwardUsername")
    if receiver.anonymous:
        raise Refusal("KudosAwardToAnon")
    if receiver.flagged:
        raise Refusal("TargetAccountFlagged")
    if amount <= 0:
        raise Refusal("NegativeKudosTransfer" if amount else "InvalidKudosTransferAmount")
    award_transfers = ledger.grant(uuid7(), receiver.id, amount * 1000, purpose="award")
    await kudos.book(horde.statements, award_transfers)


async def _find(statements: "Statements", name: str, code: str) -> "Account":
    user_id = users.user_id_of(name)
    found = None if user_id is None else await users.account_by_id(statements, user_id)
    if found is None:
        raise Refusal(code, name=name)
    return found


async def _check_cover(statements: "Statements", payer: "Account", amount: int) -> None:
    floor = floor_milli(anonymous=payer.anonymous, pseudonymous=payer.pseudonymous)
    available_milli = await kudos.available_milli(statements, payer.id) - floor
    if available_milli < amount * 1000:
        raise Refusal(
            "KudosTransferNotEnough", amount=amount, available=max(0, available_milli) // 1000
        )


def _party(account: "Account") -> Party:
    return Party(
        user_id=account.id,
        anonymous=account.anonymous,
        trusted=account.trusted,
        flagged=account.flagged,
        education=account.education,
        deleted=account.deleted,
        suspicion=account.suspicion,
    )
