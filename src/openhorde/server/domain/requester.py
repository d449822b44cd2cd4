# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who asks: the facts about an account that the rules look at."""

from typing import Final

from msgspec import Struct

FLOOR_ANONYMOUS_MILLI: Final = -50_000
FLOOR_PSEUDONYMOUS_MILLI: Final = 14_000
FLOOR_REGISTERED_MILLI: Final = 25_000


class Requester(Struct, frozen=True, kw_only=True):
    """An account at one moment. Kudos in thousandths.

    `available_milli` is what may be spent: balance less floor, holds and queued debits.
    `concurrency` is the number of jobs that may wait at once.
    """

    user_id: int
    alias: str
    balance_milli: int = 0
    available_milli: int = 0
    floor_milli: int = FLOOR_REGISTERED_MILLI
    concurrency: int = 30
    trusted: bool = False
    flagged: bool = False
    moderator: bool = False
    patron: bool = False
    special: bool = False
    service: bool = False
    education: bool = False
    customizer: bool = False
    anonymous: bool = False
    pseudonymous: bool = False
    deleted: bool = False
    account_age_seconds: int = 0


def can_pay_in_advance(requester: Requester, price_milli: int) -> bool:
    """Whether so much could be paid at once, or need not be asked (rule 21 of rules 4.4)."""
    balance = requester.balance_milli
    spendable = balance - requester.floor_milli if balance > 0 else balance
    return requester.trusted or spendable >= price_milli


def floor_milli(*, anonymous: bool, pseudonymous: bool) -> int:
    """The balance that an account never falls below, in thousandths (rules 3.9)."""
    if anonymous:
        return FLOOR_ANONYMOUS_MILLI
    return FLOOR_PSEUDONYMOUS_MILLI if pseudonymous else FLOOR_REGISTERED_MILLI
