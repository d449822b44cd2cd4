# SPDX-License-Identifier: AGPL-3.0-or-later
"""Escrow and how an account becomes trusted (rules 3.8, 7.5)."""

from typing import Final

from msgspec import Struct

TRUST_AGE_SECONDS: Final = 7 * 24 * 3600
SUSPICIONS_MAX: Final = 5


class Share(Struct, frozen=True):
    """How an earned amount is split, in thousandths."""

    balance_milli: int
    escrow_milli: int


def share(earned_milli: int, *, trusted: bool) -> Share:
    """A job's reward: untrusted owners wait for half of it. Odd thousandths round to even."""
    escrow = 0 if trusted else round(earned_milli / 2)
    return Share(earned_milli - escrow, escrow)


def uptime_share(earned_milli: int, *, trusted: bool, at_once: bool = False) -> Share:
    """An uptime reward: all of it waits, unless the kind of work says that it is paid at once."""
    return Share(earned_milli, 0) if trusted or at_once else Share(0, earned_milli)


def becomes_trusted(
    *,
    escrow_milli: int,
    threshold_milli: int | None,
    account_age_seconds: int,
    suspicions: int,
    anonymous: bool,
    deleted: bool = False,
) -> bool:
    """Whether an account has earned trust. `threshold_milli` None: nobody does by earning."""
    return (
        threshold_milli is not None
        and escrow_milli > threshold_milli
        and account_age_seconds >= TRUST_AGE_SECONDS
        and suspicions < SUSPICIONS_MAX
        and not anonymous
        and not deleted
    )
