# SPDX-License-Identifier: AGPL-3.0-or-later
"""The workers that are online, as one process knows them: is a request possible, how fast is it?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import structlog

from openhorde.server.actions.depth import Share, Snapshot
from openhorde.server.actions.forecast import Forecast
from openhorde.server.domain.crew import Crew
from openhorde.server.domain.kinds.face import AnyKind, Finder
from openhorde.server.domain.kinds.table import KINDS, USUAL_SPEEDS
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.domain.possibility import Candidate, Explanation, explain
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.waiting_time import Hand
from openhorde.server.kit.single_flight import SingleFlight
from openhorde.server.store import check_ins
from openhorde.server.store.check_ins import OnlineWorker, RunningWork
from openhorde.server.store.statements import Statements

STALE_SECONDS = 5.0

LANES_JUDGED_MAX = 30_000
"""Beyond this, what was found about lanes is forgotten and found again."""

Value = TypeVar("Value")

log = structlog.get_logger()


@dataclass(slots=True)
class Judged:
    """What has been derived from the offers of some workers. It stays true while they offer the
    same, and so passes from roster to roster."""

    crew: Crew
    fitting: dict[int, int] = field(default_factory=dict)
    explained: dict[int, Explanation] = field(default_factory=dict)
    closest: dict[int, list[Candidate]] = field(default_factory=dict)


class Roster:
    """The workers online at one moment, and the answers that have been derived from them.

    Answers are remembered by lane. Without one (None) they are found each time.
    """

    def __init__(
        self,
        read_at: float,
        offers: tuple[tuple[Offer, OnlineWorker], ...],
        running: dict[UUID, RunningWork],
        reference: Reference,
        judged: Judged | None = None,
    ) -> None:
        """`judged` is what was found on an earlier roster of the same offers."""
        self.read_at = read_at
        self.offers = offers
        self._reference = reference
        self._judged = judged or Judged(Crew(offer for offer, _ in offers))
        self._finders: dict[str, Finder[Any] | None] = {}
        self._totals = {kind: _total(offers, kind) for kind in {each.kind for _, each in offers}}
        self.hands = tuple(self._hand(worker, running.get(worker.id)) for _, worker in offers)

    def threads(self, kind: str) -> int:
        """Threads of all workers of a kind."""
        return self._totals.get(kind, (0, 0.0))[0]

    def mean_speed(self, kind: str) -> float:
        """Mean speed of the workers of a kind that have one, in things a second; 0 for none."""
        return self._totals.get(kind, (0, 0.0))[1]

    def fitting(self, lane: int | None, needs: Needs) -> int:
        """The set of workers that fit these needs (see `Crew`)."""
        return _kept(self._judged.fitting, lane, needs, self._judged.crew.fitting)

    def serves(self, lane: int, needs: Needs) -> bool:
        """Does any worker fit these needs?"""
        return self.fitting(lane, needs) != 0

    def explain(self, lane: int | None, needs: Needs) -> Explanation:
        """Which workers do not fit, and why."""
        return _kept(self._judged.explained, lane, needs, self._explain)

    def closest(self, kind: AnyKind, lane: int | None, needs: Needs) -> list[Candidate]:
        """The workers that lack least for these needs, if the kind's requests have variants."""
        finder = self.finder(kind)
        return _kept(self._judged.closest, lane, needs, finder.closest) if finder else []

    def finder(self, kind: AnyKind) -> Finder[Any] | None:
        """What finds a variant of a request that these workers would do."""
        if kind.name not in self._finders:
            candidates = [Candidate(offer, worker.threads) for offer, worker in self.offers]
            self._finders[kind.name] = kind.finder(candidates, self._reference)
        return self._finders[kind.name]

    def _explain(self, needs: Needs) -> Explanation:
        return explain(needs, self._judged.crew.offers)

    def judged_for(self, offers: tuple[tuple[Offer, OnlineWorker], ...]) -> Judged | None:
        """What was found, if these are the same offers."""
        same = self._judged.crew.offers == tuple(offer for offer, _ in offers)
        return self._judged if same else None

    def _hand(self, worker: OnlineWorker, running: RunningWork | None) -> Hand:
        speed = worker.speed or self.mean_speed(worker.kind) or KINDS[worker.kind].divisor
        busy = min(worker.threads, running.jobs) if running else 0
        seconds = running.things / (busy * speed) if running and busy else 0.0
        return Hand(worker.threads, speed, busy, seconds)


class Workforce:
    """Keeps a roster that is at most some seconds old."""

    def __init__(self, statements: Statements, reference: Reference) -> None:
        self._statements = statements
        self._reference = reference
        self._roster: Roster | None = None
        self._is_stale = False
        self._read = SingleFlight(self._read_roster)
        self._forecast: Forecast | None = None
        self._shares: tuple[object, object, dict[str, Share]] = None, None, {}

    async def roster(self) -> Roster:
        """Who is online."""
        roster = self._roster
        if roster is None or self._is_stale or monotonic() - roster.read_at > STALE_SECONDS:
            return await self._read.fresh()
        return roster

    def forget(self) -> None:
        """A worker has come or offers something else, or somebody edited it or its owner: the next
        look reads again."""
        self._is_stale = True

    def share(
        self,
        roster: Roster,
        snapshot: Snapshot,
        needs_of: Callable[[int], Needs | None],
        kind: str,
    ) -> Share:
        """What part of a kind's queue the workers online can do: the rest holds nobody up."""
        if self._shares[0] is not roster or self._shares[1] is not snapshot:
            self._shares = roster, snapshot, {}
        shares = self._shares[2]
        if kind not in shares:

            def is_served(lane: int) -> bool:
                needs = needs_of(lane)
                return needs is not None and roster.serves(lane, needs)

            shares[kind] = snapshot.possible(kind, is_served)
        return shares[kind]

    def forecast(
        self, roster: Roster, snapshot: Snapshot, needs_of: Callable[[int], Needs | None]
    ) -> Forecast:
        """How long new work would wait; a moment old. `needs_of` says what a lane needs."""
        known = self._forecast
        if known is None or known.hands is not roster.hands or known.is_due(snapshot):

            def fitting(lane: int) -> int:
                needs = needs_of(lane)
                return roster.fitting(lane, needs) if needs is not None else 0

            age_seconds = monotonic() - roster.read_at
            known = self._forecast = Forecast(roster.hands, age_seconds, snapshot, fitting)
        return known

    async def _read_roster(self) -> Roster:
        began = monotonic()
        self._is_stale = False
        offers = []
        for worker in await check_ins.online(self._statements):
            try:
                offers.append((self._offer(worker), worker))
            except msgspec.ValidationError:
                # Stored by another version of the server: it will be stored anew in a moment.
                log.warning("a stored offer cannot be read", worker=str(worker.id))
        running = await check_ins.running_work(self._statements, USUAL_SPEEDS)
        kept = tuple(offers)
        judged = self._roster.judged_for(kept) if self._roster else None
        by_worker = {each.worker_id: each for each in running}
        self._roster = Roster(began, kept, by_worker, self._reference, judged)
        return self._roster

    def _offer(self, worker: OnlineWorker) -> Offer:
        kind = KINDS[worker.kind]
        offer: Offer = kind.offer(
            msgspec.convert(worker.offer, kind.pop_type),
            worker_id=str(worker.id),
            models=tuple(worker.models),
            trusted_owner=worker.owner_trusted,
            speed_things_per_second=worker.speed or kind.divisor,
            reference=self._reference,
        )
        return offer


def _kept(
    known: dict[int, Value], lane: int | None, needs: Needs, find: Callable[[Needs], Value]
) -> Value:
    """The answer for a lane, found once; without a lane it is not remembered."""
    if lane is None:
        return find(needs)
    answer = known.get(lane)
    if answer is None:
        if len(known) > LANES_JUDGED_MAX:
            known.clear()
        answer = known[lane] = find(needs)
    return answer


def _total(offers: Sequence[tuple[Offer, OnlineWorker]], kind: str) -> tuple[int, float]:
    """(threads, mean speed of those that have one) of the workers of a kind."""
    workers = [worker for _, worker in offers if worker.kind == kind]
    speeds = [worker.speed for worker in workers if worker.speed]
    mean_speed = sum(speeds) / len(speeds) if speeds else 0.0
    return sum(worker.threads for worker in workers), mean_speed
