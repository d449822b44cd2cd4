# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why workers get nothing of what waits, at a bounded cost."""

from collections.abc import Callable
from time import monotonic

from openhorde.server.actions.depth import Snapshot
from openhorde.server.domain.kinds.table import KINDS
from openhorde.server.domain.matching import Waiting
from openhorde.server.domain.needs import Needs, Offer

SUMMING_SECONDS_FREE = 0.002
SUMMING_SHARE_MAX = 0.005
"""Summing up what waits takes time in proportion to the lanes: at most this share of all time,
unless it takes no longer than SUMMING_SECONDS_FREE."""


class Skips:
    """One process's memory of what its workers cannot be given.

    What waits is summed up for all workers together, and each of them is answered once from the
    same sum, however often it asks.
    """

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._waiting = Waiting(())
        self._summed_at = 0.0
        self._summing_seconds = 0.0
        self._told: dict[str, tuple[Offer, dict[str, int]]] = {}

    def tally(
        self, snapshot: Snapshot, needs_of: Callable[[int], Needs | None], offer: Offer
    ) -> dict[str, int]:
        """How many waiting requests the worker cannot be given, by reason; some moments old.

        `needs_of` says what a lane needs.
        """
        self._sum_up(snapshot, needs_of)
        told = self._told.get(offer.worker_id)
        if told is None or told[0] != offer:
            told = self._told[offer.worker_id] = offer, self._waiting.tally(offer)
        return dict(told[1])

    def _sum_up(self, snapshot: Snapshot, needs_of: Callable[[int], Needs | None]) -> None:
        began = monotonic()
        due_seconds = 0.0
        if self._summing_seconds > SUMMING_SECONDS_FREE:
            due_seconds = self._summing_seconds / SUMMING_SHARE_MAX
        known = self._snapshot
        if snapshot is known or (known and began - self._summed_at < due_seconds):
            return
        self._waiting = Waiting(
            (needs, load.jobs if KINDS[needs.kind].jobs_apart else load.requests)
            for lane, load in snapshot.lanes.items()
            if (needs := needs_of(lane)) is not None
        )
        self._snapshot = snapshot
        self._told = {}
        self._summed_at = monotonic()
        self._summing_seconds = self._summed_at - began
