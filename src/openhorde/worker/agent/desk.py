# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where prepared jobs lie until an engine that can do them is free."""

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
        """The first job that somebody can do, if there is one.

        One for the model that they have at hand may go before, while the first can wait.
        """
        fitting = [one for one in self._lying if able(one)]
        if not fitting:
            return None
        taken = fitting[0]
        if taken.seconds_left > taken.ttl_seconds * CAN_WAIT_SHARE:
            taken = next((one for one in fitting if one.model == warm), taken)
        self._lying.remove(taken)
        return taken

    def clear(self, unable: Able = lambda _: True) -> list[Assignment]:
        """Take away all that nobody can do."""
        taken = [one for one in self._lying if unable(one)]
        self._lying = [one for one in self._lying if not unable(one)]
        return taken
