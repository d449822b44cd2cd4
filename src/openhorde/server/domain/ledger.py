# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one ledger: double entry, two-phase, append-only. Amounts in thousandths of a kudos.

Every movement is a `Transfer` from the account it debits to the one it credits, so the sum over
all accounts is always zero. (source_id, purpose) is its identity: the caller makes the id, so a
retry is harmless. `reserve` holds an amount when a request is accepted; the request's own charges
draw on that hold first; `release` gives back what is left of it. Holds lower what may be spent,
not the balance.
"""

from collections.abc import Iterable, Mapping, Set
from typing import Final, Literal
from uuid import UUID, uuid5

from msgspec import Struct

from openhorde.server.domain import trust

TREASURY: Final = -1
"""Where taxes go and where what workers are paid comes from."""

MINT: Final = -2
"""Where kudos are made: its balance is minus all kudos there are."""

Phase = Literal["posted", "pending", "void"]
Purpose = Literal[
    "reserve",
    "release",
    "activation",
    "price",
    "tax",
    "subsidy",
    "reward",
    "escrow",
    "uptime",
    "trust",
    "floor",
    "transfer",
    "grant",
    "award",
    "recurring",
    "admin",
]
Bucket = Literal[
    "accumulated", "gifted", "donated", "received", "admin", "recurring", "awarded", "styled"
]
Key = tuple[UUID, str]


class Transfer(Struct, frozen=True, kw_only=True):
    """One entry. `amount_milli` is positive.

    `hold` is the request whose hold it makes (pending), draws on (posted) or releases (void).
    The buckets are the statistics that the debited and credited accounts show it under.
    """

    source_id: UUID
    purpose: Purpose
    phase: Phase
    debit: int
    credit: int
    amount_milli: int
    hold: UUID | None = None
    debit_bucket: Bucket | None = None
    credit_bucket: Bucket | None = None

    @property
    def key(self) -> Key:
        """What makes the entry unique."""
        return (self.source_id, self.purpose)


class Fold(Struct, frozen=True):
    """Balances and holds after some transfers, and what was appended to get there.

    `applied` are the transfers that were new, in order, each followed by the floor adjustments
    (also in `adjustments`) that it caused.
    """

    balances: dict[int, int]
    held: dict[UUID, int]
    applied: tuple[Transfer, ...]
    adjustments: tuple[Transfer, ...]


def balance_account(user_id: int) -> int:
    """The account of what a user has."""
    return 2 * user_id


def escrow_account(user_id: int) -> int:
    """The account of what an untrusted user has earned but not yet got."""
    return 2 * user_id + 1


def user_of(account: int) -> int | None:
    """Whose account it is; None for the horde's own."""
    return None if account < 0 else account // 2


def reserve(request_id: UUID, payer: int, amount_milli: int) -> tuple[Transfer, ...]:
    """Holds what a request may cost. `payer` is a user id, as everywhere below."""
    return _held(request_id, "reserve", "pending", payer, amount_milli)


def release(request_id: UUID, payer: int, remaining_milli: int) -> tuple[Transfer, ...]:
    """Gives back what is left of a hold."""
    return _held(request_id, "release", "void", payer, remaining_milli)


def activate(request_id: UUID, payer: int, tax_milli: int) -> tuple[Transfer, ...]:
    """The tax of accepting a request."""
    return _paid(request_id, "activation", payer, tax_milli, hold=request_id)


def deliver(
    job_id: UUID,
    request_id: UUID,
    payer: int,
    owner: int,
    *,
    owner_trusted: bool,
    reward_milli: int,
    price_milli: int,
    tax_milli: int,
    censored: bool,
    bridge_multiplier: float,
) -> tuple[Transfer, ...]:
    """A delivered job: the requester pays price and tax, the worker's owner earns the reward.

    A censored job costs the tax alone, and its worker is paid in full. The agent's factor lowers
    what is earned. Earnings come out of the price; what is over stays in the treasury, what is
    missing is minted, so a delivery never takes from the treasury.
    """
    price = 0 if censored else price_milli
    earned = round(reward_milli * bridge_multiplier)
    shares = trust.share(earned, trusted=owner_trusted)
    return (
        *_paid(job_id, "price", payer, price, hold=request_id),
        *_paid(job_id, "tax", payer, tax_milli, hold=request_id),
        *_posted(job_id, "subsidy", MINT, TREASURY, max(0, earned - price)),
        *_earned(job_id, "reward", TREASURY, owner, shares),
    )


def uptime(
    reward_id: UUID, owner: int, amount_milli: int, *, owner_trusted: bool, at_once: bool = False
) -> tuple[Transfer, ...]:
    """A reward for being there. `at_once`: nothing of it is escrowed, whoever the owner."""
    shares = trust.uptime_share(amount_milli, trusted=owner_trusted, at_once=at_once)
    return _earned(reward_id, "uptime", MINT, owner, shares)


def promote(promotion_id: UUID, user_id: int, escrow_milli: int) -> tuple[Transfer, ...]:
    """A trusted user's escrow is paid out."""
    accounts = escrow_account(user_id), balance_account(user_id)
    return _posted(promotion_id, "trust", *accounts, escrow_milli, credit_bucket="accumulated")


def transfer(
    transfer_id: UUID, sender: int, receiver: int, amount_milli: int, *, donated: bool
) -> tuple[Transfer, ...]:
    """Kudos from one user to another. `donated`: the receiver is an education account."""
    return _posted(
        transfer_id,
        "transfer",
        balance_account(sender),
        balance_account(receiver),
        amount_milli,
        debit_bucket="donated" if donated else "gifted",
        credit_bucket="received",
    )


def grant(
    grant_id: UUID,
    user_id: int,
    amount_milli: int,
    *,
    purpose: Literal["grant", "award", "recurring", "admin"] = "grant",
) -> tuple[Transfer, ...]:
    """Makes kudos for a user; a negative amount unmakes them."""
    buckets: dict[str, Bucket] = {"award": "awarded", "recurring": "recurring", "admin": "admin"}
    bucket = buckets.get(purpose)
    account = balance_account(user_id)
    if amount_milli < 0:
        return _posted(grant_id, purpose, account, MINT, -amount_milli, debit_bucket=bucket)
    return _posted(grant_id, purpose, MINT, account, amount_milli, credit_bucket=bucket)


def fold(
    balances: Mapping[int, int],
    held: Mapping[UUID, int],
    transfers: Iterable[Transfer],
    floors: Mapping[int, int],
    seen: Set[Key] = frozenset(),
) -> Fold:
    """Applies transfers to balances and holds.

    `held` is what is left of each hold; `floors` the least balance of each account that has one;
    `seen` the keys of entries that are applied already, which are skipped, as are repetitions.
    After every movement an account below its floor is lifted to it by the mint (rules 3.9). Absent
    accounts and holds count as zero; missing accounts get no floor.
    """
    new_balances, new_held, keys = dict(balances), dict(held), set(seen)
    applied: list[Transfer] = []
    adjustments: list[Transfer] = []
    for transfer in transfers:
        if transfer.key in keys:
            continue
        keys.add(transfer.key)
        applied.append(transfer)
        _apply_hold(new_held, transfer)
        if transfer.phase != "posted":
            continue
        _move(new_balances, transfer)
        for account in (transfer.debit, transfer.credit):
            lift = floors.get(account, new_balances[account]) - new_balances[account]
            if lift > 0:
                adjustment = _floor_adjustment(transfer, account, lift)
                _move(new_balances, adjustment)
                applied.append(adjustment)
                adjustments.append(adjustment)
    return Fold(new_balances, new_held, tuple(applied), tuple(adjustments))


def total(balances: Mapping[int, int]) -> int:
    """The sum over all accounts: zero, always."""
    return sum(balances.values())


def _posted(
    source_id: UUID,
    purpose: Purpose,
    debit: int,
    credit: int,
    amount_milli: int,
    *,
    hold: UUID | None = None,
    debit_bucket: Bucket | None = None,
    credit_bucket: Bucket | None = None,
) -> tuple[Transfer, ...]:
    if amount_milli <= 0:
        return ()
    entry = Transfer(
        source_id=source_id,
        purpose=purpose,
        phase="posted",
        debit=debit,
        credit=credit,
        amount_milli=amount_milli,
        hold=hold,
        debit_bucket=debit_bucket,
        credit_bucket=credit_bucket,
    )
    return (entry,)


def _paid(
    source_id: UUID, purpose: Purpose, payer: int, amount_milli: int, *, hold: UUID
) -> tuple[Transfer, ...]:
    account = balance_account(payer)
    return _posted(
        source_id, purpose, account, TREASURY, amount_milli, hold=hold, debit_bucket="accumulated"
    )


def _earned(
    source_id: UUID, purpose: Purpose, payer: int, owner: int, shares: trust.Share
) -> tuple[Transfer, ...]:
    """Escrowed amounts show in no bucket until they are paid out."""
    now, later = shares.balance_milli, shares.escrow_milli
    account = balance_account(owner)
    return (
        *_posted(source_id, purpose, payer, account, now, credit_bucket="accumulated"),
        *_posted(source_id, "escrow", payer, escrow_account(owner), later),
    )


def _held(
    request_id: UUID, purpose: Purpose, phase: Phase, payer: int, amount_milli: int
) -> tuple[Transfer, ...]:
    if amount_milli <= 0:
        return ()
    entry = Transfer(
        source_id=request_id,
        purpose=purpose,
        phase=phase,
        debit=balance_account(payer),
        credit=TREASURY,
        amount_milli=amount_milli,
        hold=request_id,
    )
    return (entry,)


def _apply_hold(held: dict[UUID, int], transfer: Transfer) -> None:
    if transfer.hold is None:
        return
    left = held.get(transfer.hold, 0)
    if transfer.phase == "pending":
        left += transfer.amount_milli
    elif transfer.phase == "void":
        left = 0
    else:
        left = max(0, left - transfer.amount_milli)
    if left:
        held[transfer.hold] = left
    else:
        held.pop(transfer.hold, None)


def _move(balances: dict[int, int], transfer: Transfer) -> None:
    amount = transfer.amount_milli
    balances[transfer.debit] = balances.get(transfer.debit, 0) - amount
    balances[transfer.credit] = balances.get(transfer.credit, 0) + amount


def _floor_adjustment(cause: Transfer, account: int, lift_milli: int) -> Transfer:
    """Its id follows from the cause and the account, so a replay makes the same entry."""
    return Transfer(
        source_id=uuid5(cause.source_id, f"{cause.purpose}:{account}"),
        purpose="floor",
        phase="posted",
        debit=MINT,
        credit=account,
        amount_milli=lift_milli,
    )
