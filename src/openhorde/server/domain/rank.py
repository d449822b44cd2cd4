# SPDX-License-Identifier: AGPL-3.0-or-later
"""The order of the queue, as a policy. A job's rank is an integer; the lowest is served first.

`fair` is start-time fair queueing (Goyal, Vin and Cheng, 1996) over the users of one kind. Every
user has a lane. A job's start tag is where its user's work so far ends, or the virtual time if
that is later; its finish tag is the start plus its cost divided by the user's weight. Jobs are
served by start tag. The virtual time is the highest start tag handed out so far, so a user who
comes back is not owed the time away, and everybody's wait is bounded.

Unit of tags: one thing at weight 1. A horde of 10**10 things a second that serves none but the
least weight moves them by 10**11 a second, so 64 bits last for years in the worst case and for
centuries in practice.

`ageing` is the order of the original horde: kudos plus five a second of waiting.
"""

from collections.abc import Callable, Iterable, Sequence
from math import log2
from typing import Final

from msgspec import Struct

WEIGHT_FLAGGED: Final = 0.1
WEIGHT_IN_DEBT: Final = 0.5
WEIGHT_UNIT_MILLI: Final = 1_000_000
"""A thousand kudos double the weight of an empty purse; then each doubling adds one."""

AGEING_MILLI_PER_SECOND: Final = 5000
AGEING_FLAGGED_RICH_MILLI: Final = 10_000
AGEING_FLAGGED_DIVISOR: Final = 1000
AGEING_FLAGGED_MILLI: Final = -100_000
AGEING_DOWNGRADED_MILLI: Final = -50_000
MICROSECONDS: Final = 1_000_000


class Tag(Struct, frozen=True):
    """A job's place: served by `start`; the user's next job starts no earlier than `finish`."""

    start: int
    finish: int


class Standing(Struct, frozen=True, kw_only=True):
    """What a policy may look at when it ranks the jobs of one request.

    `virtual_time` and `last_finish` are the kind's and the user's, in the unit of tags;
    `created_micros` is microseconds since 1970.
    """

    balance_milli: int = 0
    flagged: bool = False
    downgraded: bool = False
    virtual_time: int = 0
    last_finish: int = 0
    created_micros: int = 0


class Ranked(Struct, frozen=True):
    """One rank per job, in order, and the user's new last finish tag."""

    ranks: tuple[int, ...]
    last_finish: int


def weight(balance_milli: int, *, flagged: bool = False) -> float:
    """A user's share of the horde, relative to others.

    Grows slowly with kudos: 1 at nothing, 2 at a thousand, about 11 at a million. In debt (such as
    the anonymous account) it is a half, for flagged users a tenth.
    """
    if flagged:
        return WEIGHT_FLAGGED
    if balance_milli < 0:
        return WEIGHT_IN_DEBT
    return 1.0 + log2(1.0 + balance_milli / WEIGHT_UNIT_MILLI)


def start_tag(virtual_time: int, last_finish: int) -> int:
    """Where a user's next job starts."""
    return max(virtual_time, last_finish)


def finish_tag(start: int, cost_things: int, weight: float) -> int:
    """Where a job ends, at least one after its start."""
    return start + max(1, round(cost_things / weight))


def tags(
    virtual_time: int, last_finish: int, costs_things: Iterable[int], weight: float
) -> list[Tag]:
    """The tags of a user's new jobs, one after the other."""
    placed: list[Tag] = []
    for cost in costs_things:
        start = start_tag(virtual_time, last_finish)
        last_finish = finish_tag(start, cost, weight)
        placed.append(Tag(start, last_finish))
    return placed


def fair(standing: Standing, costs_things: Sequence[int]) -> Ranked:
    """Start-time fair queueing; see the head of this file."""
    balance = min(standing.balance_milli, 0) if standing.downgraded else standing.balance_milli
    share = weight(balance, flagged=standing.flagged)
    placed = tags(standing.virtual_time, standing.last_finish, costs_things, share)
    last = placed[-1].finish if placed else standing.last_finish
    return Ranked(tuple(tag.start for tag in placed), last)


def ageing_priority_milli(standing: Standing) -> int:
    """The priority at the start, in thousandths of a kudos (rules 4.1)."""
    if standing.flagged:
        rich = standing.balance_milli > AGEING_FLAGGED_RICH_MILLI
        kudos = round(standing.balance_milli / AGEING_FLAGGED_DIVISOR / 1000)
        return kudos * 1000 if rich else AGEING_FLAGGED_MILLI
    return AGEING_DOWNGRADED_MILLI if standing.downgraded else standing.balance_milli


def ageing(standing: Standing, costs_things: Sequence[int]) -> Ranked:
    """Created less priority / 5 kudos a second, in microseconds: the order of rules 4.1.

    Priority grows by five kudos a second for everybody, so the order never changes and nothing
    needs to be rewritten while it waits.
    """
    lead = ageing_priority_milli(standing) * MICROSECONDS // AGEING_MILLI_PER_SECOND
    rank = standing.created_micros - lead
    return Ranked((rank,) * len(costs_things), standing.last_finish)


Policy = Callable[[Standing, Sequence[int]], Ranked]
POLICIES: Final[dict[str, Policy]] = {"fair": fair, "ageing": ageing}
