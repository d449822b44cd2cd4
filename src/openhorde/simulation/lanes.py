# SPDX-License-Identifier: AGPL-3.0-or-later
"""The queue of the simulation: lanes of equal needs, placed and ordered by the server's rules."""

import heapq
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from openhorde.server.domain import rank
from openhorde.server.domain.matching import fits
from openhorde.server.domain.needs import Needs
from openhorde.server.domain.virtual_time import VirtualTime
from openhorde.simulation.catalogue import Shape
from openhorde.simulation.population import Machine, User

Entry = tuple[int, int, "Order"]
MICROSECONDS: Final = 1_000_000


class Order(Struct, kw_only=True, eq=False):
    """A request in the simulation; times in seconds from the start.

    `step` is the cost of one of its jobs in tags, `finish` the tag where the last one ends.
    """

    user: User
    shape: Shape
    lane: int
    asked: int
    waiting: int
    created: float
    touched: float
    step: int = 0
    finish: int = 0


class Lane(Struct, kw_only=True, eq=False):
    """The jobs of equal needs, and the machines that fit them (their numbers)."""

    number: int
    fitting: tuple[int, ...]
    heap: list[Entry]

    def head(self) -> Entry | None:
        """The best-ranked job that still waits."""
        while self.heap and not self.heap[0][2].waiting:
            heapq.heappop(self.heap)
        return self.heap[0] if self.heap else None


class Queue:
    """All lanes; who fits which; where jobs are placed."""

    def __init__(self, machines: Sequence[Machine], policy: str) -> None:
        self._machines = machines
        self._policy = policy
        self._by_needs: dict[Needs, Lane] = {}
        self._lanes: list[Lane] = []
        self._served_by: list[list[Lane]] = [[] for _ in machines]
        self._time = VirtualTime()
        self._orders: dict[int, list[Order]] = {}
        self._entries = 0

    def lane(self, needs: Needs) -> Lane:
        """The lane of these needs."""
        lane = self._by_needs.get(needs)
        if lane is None:
            fitting = tuple(each.number for each in self._machines if fits(needs, each.offer))
            lane = Lane(number=len(self._lanes), fitting=fitting, heap=[])
            self._by_needs[needs] = lane
            self._lanes.append(lane)
            for number in fitting:
                self._served_by[number].append(lane)
        return lane

    def fitting(self, order: Order) -> tuple[int, ...]:
        """The machines that could serve the order, there or not."""
        return self._lanes[order.lane].fitting

    def join(self, order: Order, balance_milli: int) -> None:
        """Place the jobs of an order, as the server does."""
        lane = self._lanes[order.lane]
        user = order.user
        standing = rank.Standing(
            balance_milli=min(balance_milli, -1) if user.anonymous else balance_milli,
            flagged=user.flagged,
            virtual_time=self._time.now,
            last_finish=self._last_finish(user),
            created_micros=round(order.created * MICROSECONDS),
        )
        ranked = rank.POLICIES[self._policy](standing, (order.shape.things,) * order.asked)
        if self._policy == "fair":
            order.finish = ranked.last_finish
            order.step = (order.finish - ranked.ranks[0]) // order.asked
            self._orders.setdefault(user.id, []).append(order)
        for place in ranked.ranks:
            self._entries += 1
            heapq.heappush(lane.heap, (place, self._entries, order))

    def take(self, machine: int) -> Order | None:
        """The best job for a machine, which takes it; None when nothing fits."""
        best: Entry | None = None
        found: Lane | None = None
        for lane in self._served_by[machine]:
            head = lane.head() if lane.heap else None
            if head is not None and (best is None or head < best):
                best, found = head, lane
        if best is None or found is None:
            return None
        heapq.heappop(found.heap)
        self._time.started(machine, best[0])
        best[2].waiting -= 1
        return best[2]

    def leave(self, order: Order) -> None:
        """What waits of an order will not be served."""
        order.finish -= order.step * order.waiting
        order.waiting = 0

    def gone(self, machine: int) -> None:
        """A machine has left."""
        self._time.gone(machine)

    def _last_finish(self, user: User) -> int:
        """Where the user's work so far ends; what virtual time has passed no longer matters."""
        ahead = [each for each in self._orders.get(user.id, ()) if each.finish > self._time.now]
        self._orders[user.id] = ahead
        return max((each.finish for each in ahead), default=0)
