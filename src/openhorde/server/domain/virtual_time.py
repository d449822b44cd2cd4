# SPDX-License-Identifier: AGPL-3.0-or-later
"""How far service has come: the virtual time of fair queueing when workers are not all alike.

With one server, virtual time is the tag of the job in service. With many that serve different
things, the highest tag taken so far will not do: a worker that fits only a rare lane takes jobs
whose tags are far ahead, and whoever joins after that stands behind all who wait. The order
becomes that of arrival, and neither weight nor a short queue of one's own helps.

So the virtual time here is the median of the tags that the workers took last. A minority of
workers far ahead, or far behind, does not move it; among workers that all fit the same jobs it is
the tag of one of the jobs in service. Of two medians the later counts, so that one slow worker of
two does not hold it up. It never goes back.
"""

from bisect import bisect_left, insort
from collections.abc import Hashable


class VirtualTime:
    """The virtual time of one kind of work, in the unit of tags, as one process knows it."""

    def __init__(self, now: int = 0) -> None:
        self._now = now
        self._ranks: dict[Hashable, int] = {}
        self._ordered: list[int] = []

    @property
    def now(self) -> int:
        """Nobody joins the queue before this."""
        return self._now

    def started(self, worker: Hashable, rank: int) -> None:
        """A worker took a job of this rank."""
        self._forget(worker)
        self._ranks[worker] = rank
        insort(self._ordered, rank)
        self._now = max(self._now, self._ordered[len(self._ordered) // 2])

    def gone(self, worker: Hashable) -> None:
        """A worker is no longer there."""
        self._forget(worker)
        self._ranks.pop(worker, None)

    def _forget(self, worker: Hashable) -> None:
        rank = self._ranks.get(worker)
        if rank is not None:
            del self._ordered[bisect_left(self._ordered, rank)]
