# SPDX-License-Identifier: AGPL-3.0-or-later
"""The lanes in which jobs wait, in the order of the ranks at their heads."""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator
from heapq import merge, nsmallest
from itertools import groupby, islice

from openhorde.server.domain.needs import Needs, Offer

MODELS_NAMED_MAX = 4
"""A lane that names more models than this stands with those that name none."""

ORDERS_MERGED_MAX = 32
"""An offer of more models than this meets the lanes of its kind in one order."""

Head = tuple[int, int]
"""(rank, lane)"""


class Heads:
    """The rank at the head of each lane.

    A lane stands in the order of its kind, and in that of each model it names: so who offers one
    model does not pass the lanes of all others, which may have been waiting for longer.
    """

    def __init__(self) -> None:
        self._ranks: dict[int, int] = {}
        self._orders: dict[tuple[str, str | None], list[Head]] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def __iter__(self) -> Iterator[int]:
        return iter(self._ranks)

    def __contains__(self, lane: int) -> bool:
        return lane in self._ranks

    def rank(self, lane: int) -> int | None:
        """The rank at the head of a lane, if jobs wait in it."""
        return self._ranks.get(lane)

    def least(self, kind: str) -> int | None:
        """The rank at the head of a kind's queue."""
        order = self._orders.get((kind, None))
        return order[0][0] if order else None

    def put(self, lane: int, needs: Needs, rank: int) -> None:
        """The job at the head of a lane has this rank now."""
        self.drop(lane, needs)
        self._ranks[lane] = rank
        for key in _keys(needs):
            insort(self._orders.setdefault(key, []), (rank, lane))

    def drop(self, lane: int, needs: Needs) -> None:
        """Nothing waits in a lane any more."""
        rank = self._ranks.pop(lane, None)
        if rank is None:
            return
        for key in _keys(needs):
            order = self._orders[key]
            del order[bisect_left(order, (rank, lane))]
            if not order:
                del self._orders[key]

    def first(self, lanes: Collection[int], offer: Offer, count: int) -> list[int]:
        """Of some lanes, all those that fit an offer, the first in which jobs wait, at most so
        many."""
        # Enough are soon met in order, unless few lanes fit or they stand behind many others.
        order = iter(self._in_order(offer))
        passed = islice(order, len(lanes))
        met = list(islice((lane for _, lane in passed if lane in lanes), count))
        if len(met) == count or next(order, None) is None:
            return met
        ranks = self._ranks
        waiting = [(ranks[lane], lane) for lane in lanes if lane in ranks]
        return [lane for _, lane in nsmallest(count, waiting)]

    def _in_order(self, offer: Offer) -> Iterable[Head]:
        """The lanes among which all are that fit an offer."""
        kind, models = offer.kind, offer.models
        if len(models) > ORDERS_MERGED_MAX:
            return self._orders.get((kind, None), [])
        orders = [self._orders.get((kind, model), []) for model in ("", *models)]
        # A lane that names two of the models is met twice in a row.
        return (head for head, _ in groupby(merge(*orders)))


def _keys(needs: Needs) -> list[tuple[str, str | None]]:
    named = needs.models if 0 < len(needs.models) <= MODELS_NAMED_MAX else ("",)
    return [(needs.kind, None), *((needs.kind, model) for model in named)]
