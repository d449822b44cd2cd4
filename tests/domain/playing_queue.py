# SPDX-License-Identifier: AGPL-3.0-or-later
"""A queue of equal needs, on the rules alone: what the server does, without its database."""

from collections.abc import Sequence
from dataclasses import dataclass

from openhorde.server.domain.rank import Standing, fair
from openhorde.server.domain.virtual_time import VirtualTime


@dataclass(frozen=True, order=True)
class Job:
    """A job: its rank, its number in the order of arrival, its user, and its cost in tags."""

    rank: int
    number: int
    user: int
    span: int


class PlayingQueue:
    """Users have ids and balances (millikudos); workers have numbers and fit everything."""

    def __init__(self, balances: dict[int, int]) -> None:
        self.balances = balances
        self.waiting: list[Job] = []
        self.taken: list[Job] = []
        self._time = VirtualTime()
        self._last_finish: dict[int, int] = {}

    def virtual_time(self) -> int:
        """Where service is."""
        return self._time.now

    def submit(self, user: int, costs: Sequence[int]) -> list[Job]:
        """A request of so many jobs."""
        ranked = fair(
            Standing(
                balance_milli=self.balances[user],
                virtual_time=self._time.now,
                last_finish=self._last_finish.get(user, 0),
            ),
            costs,
        )
        self._last_finish[user] = ranked.last_finish
        ends = (*ranked.ranks[1:], ranked.last_finish)
        known = len(self.waiting) + len(self.taken)
        jobs = [
            Job(rank, known + place, user, end - rank)
            for place, (rank, end) in enumerate(zip(ranked.ranks, ends, strict=True))
        ]
        self.waiting += jobs
        return jobs

    def take(self, worker: int = 0) -> Job:
        """A worker takes the best job."""
        best = min(self.waiting)
        self.waiting.remove(best)
        self.taken.append(best)
        self._time.started(worker, best.rank)
        return best
