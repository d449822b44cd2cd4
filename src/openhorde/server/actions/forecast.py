# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long new work would wait, as workers and queue stood at one moment."""

from collections.abc import Callable, Sequence
from time import monotonic

import msgspec

from openhorde.server.actions.depth import Snapshot
from openhorde.server.domain.crew import members
from openhorde.server.domain.waiting_time import Eta, Hand, Team, between, eta, pour

SHARES = 8
"""An ETA is worked out where so many parts of the queue go before, and in between it is drawn in a
straight line."""

TEAMS_MAX = 10_000
FRESH_SECONDS_MIN = 0.5
MAKING_SHARE_MAX = 0.005
"""A forecast takes time in proportion to lanes and workers, and at most this share of all time."""


class Forecast:
    """Pours what waits onto the workers once; then an ETA is a look-up and a little arithmetic."""

    def __init__(
        self,
        hands: Sequence[Hand],
        hands_age_seconds: float,
        snapshot: Snapshot,
        fitting: Callable[[int], int],
    ) -> None:
        """`fitting` tells which set of the workers fits a lane."""
        began = monotonic()
        self.hands = hands
        self.snapshot = snapshot
        now = [_later(hand, hands_age_seconds) for hand in hands]
        # Each kind by itself: their things are not of one unit, and no worker serves two.
        kinds: dict[str, list[tuple[int, float]]] = {}
        for lane, load in snapshot.lanes.items():
            kinds.setdefault(load.kind, []).append((fitting(lane), float(load.things)))
        poured = [pour(lanes, now) for lanes in kinds.values()] or [[0.0] * len(now)]
        self._pairs = list(zip(now, map(sum, zip(*poured, strict=True)), strict=True))
        self._teams: dict[tuple[int, float], Team] = {}
        self._waiting: dict[str, tuple[int, int]] = {}
        self.made_at = monotonic()
        self._making_seconds = self.made_at - began

    def is_due(self, snapshot: Snapshot) -> bool:
        """Is it time to make another with newer numbers?"""
        age_seconds = monotonic() - self.made_at
        due_seconds = max(FRESH_SECONDS_MIN, self._making_seconds / MAKING_SHARE_MAX)
        return snapshot is not self.snapshot and age_seconds > due_seconds

    def eta(self, fitting: int, kind: str, *, rank: int, jobs: int, things_each: int) -> Eta | None:
        """How long until jobs are done of which the last would have that rank; None when nobody
        fits them."""
        if not fitting:
            return None
        jobs_waiting, things_waiting = self._of_kind(kind)
        share, typical = 0.0, 0.0
        if things_waiting:
            share = self.snapshot.depth(kind).up_to(rank)[2] / things_waiting
            typical = things_waiting / jobs_waiting
        step, part = divmod(share * SHARES, 1)
        nearer = eta(
            self._team(fitting, step), jobs=jobs, things_each=things_each, things_typical=typical
        )
        if not part:
            return nearer
        farther = eta(
            self._team(fitting, step + 1),
            jobs=jobs,
            things_each=things_each,
            things_typical=typical,
        )
        return between(nearer, farther, part)

    def _team(self, fitting: int, step: float) -> Team:
        """The workers of a set with so many eighths of what waits before them."""
        key = fitting, step
        team = self._teams.get(key)
        if team is None:
            if len(self._teams) > TEAMS_MAX:
                self._teams.clear()
            share = step / SHARES
            chosen = members(fitting, self._pairs)
            team = Team((hand, ahead * share) for hand, ahead in chosen)
            self._teams[key] = team
        return team

    def _of_kind(self, kind: str) -> tuple[int, int]:
        """(jobs, things) that wait of a kind."""
        if kind not in self._waiting:
            _, jobs, things = self.snapshot.depth(kind).up_to(2**63 - 1)
            self._waiting[kind] = jobs, things
        return self._waiting[kind]


def _later(hand: Hand, seconds: float) -> Hand:
    """The worker as it will be by then, should it take no more."""
    return msgspec.structs.replace(hand, busy_seconds=max(0.0, hand.busy_seconds - seconds))
