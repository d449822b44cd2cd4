# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where prepared jobs lie until an engine that can do them is free.

The kinds of work take turns, and a job is overtaken at most once, and by its own kind. So what is
first of its kind starts after at most one job of each kind.
"""

from collections.abc import Callable

from openhorde.worker.agent.assignment import Assignment
from openhorde.worker.agent.bell import Bell
from openhorde.worker.settings import KindName

CAN_WAIT_SHARE = 0.75
"""While more than this share of its time to live is left, a job can wait for others."""

Able = Callable[[Assignment], bool]


class Desk:
    """Jobs in the order in which they came. `bell` rings when one comes, and at the end."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._lying: list[Assignment] = []
        self._turns: list[KindName] = []
        """The kinds of which jobs were taken, the one that was served last at the end."""
        self._overtaken: set[str] = set()
        self._closed = False

    def put(self, assignment: Assignment) -> None:
        """Lay a job down."""
        self._lying.append(assignment)
        self._bell.ring()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._bell.ring()

    def count(self, kind: KindName) -> int:
        """How many jobs of a kind lie here."""
        return sum(one.kind == kind for one in self._lying)

    def over(self, able: Able) -> bool:
        """Whether nothing lies here for somebody, or ever will."""
        return self._closed and not any(able(one) for one in self._lying)

    def take(self, able: Able, warm: str = "") -> Assignment | None:
        """The next job that somebody can do, if there is one: of the kind that was not served for
        longest, the first.

        While all are of one kind and the first can wait, one for the model that they have at hand
        may overtake it; then it is next, whatever else has come.
        """
        fitting = [one for one in self._lying if able(one)]
        if not fitting:
            return None
        taken = next((one for one in fitting if one.ids[0] in self._overtaken), None)
        if taken is None:
            kind = min((one.kind for one in fitting), key=self._turn)
            taken = next(one for one in fitting if one.kind == kind)
            if all(one.kind == kind for one in fitting) and _can_wait(taken):
                first, taken = taken, next((one for one in fitting if one.model == warm), taken)
                self._overtaken.add(first.ids[0])
        self._overtaken.discard(taken.ids[0])
        self._turns = [*(one for one in self._turns if one != taken.kind), taken.kind]
        self._lying.remove(taken)
        return taken

    def _turn(self, kind: KindName) -> int:
        return self._turns.index(kind) if kind in self._turns else -1

    def clear(self, unable: Able = lambda _: True) -> list[Assignment]:
        """Take away all that nobody can do."""
        taken = [one for one in self._lying if unable(one)]
        self._lying = [one for one in self._lying if not unable(one)]
        self._overtaken -= {one.ids[0] for one in taken}
        return taken


def _can_wait(assignment: Assignment) -> bool:
    return assignment.seconds_left > assignment.ttl_seconds * CAN_WAIT_SHARE
