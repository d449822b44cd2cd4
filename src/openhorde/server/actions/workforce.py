# SPDX-License-Identifier: AGPL-3.0-or-later
"""The workers that are online, as one process knows them: is a request possible, how fast is it?"""

from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID

import msgspec
import structlog

from openhorde.server.actions.queue import SingleFlight
from openhorde.server.domain.kinds import image
from openhorde.server.domain.matching import fits
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.domain.reference import Reference
from openhorde.server.store import check_ins
from openhorde.server.store.check_ins import OnlineWorker
from openhorde.server.store.statements import Statements
from openhorde.wire.work import ImagePop

STALE_SECONDS = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Roster:
    """The workers online at one moment, and the answers that have been derived from them."""

    read_at: float
    offers: tuple[tuple[Offer, OnlineWorker], ...]
    possible: dict[int, bool] = field(default_factory=dict)

    def threads(self, kind: str) -> int:
        """Threads of all workers of a kind."""
        return sum(worker.threads for _, worker in self.offers if worker.kind == kind)

    def mean_speed(self, kind: str) -> float:
        """Mean speed of the workers of a kind that have one, in things a second; 0 for none."""
        speeds = [worker.speed for _, worker in self.offers if worker.kind == kind and worker.speed]
        return sum(speeds) / len(speeds) if speeds else 0.0

    def serves(self, lane: int, needs: Needs) -> bool:
        """Does any worker fit these needs?"""
        answer = self.possible.get(lane)
        if answer is None:
            answer = any(fits(needs, offer) for offer, _ in self.offers)
            self.possible[lane] = answer
        return answer


class Workforce:
    """Keeps a roster that is at most some seconds old."""

    def __init__(self, statements: Statements, reference: Reference) -> None:
        self._statements = statements
        self._reference = reference
        self._roster: Roster | None = None
        self._read = SingleFlight(self._read_roster)

    async def roster(self) -> Roster:
        """Who is online."""
        roster = self._roster
        if roster is None or monotonic() - roster.read_at > STALE_SECONDS:
            return await self._read.fresh()
        return roster

    def changed(self, worker_id: UUID) -> None:
        """A worker that was not on the roster has checked in: the next look reads again."""
        roster = self._roster
        if roster and all(worker.id != worker_id for _, worker in roster.offers):
            self._roster = None

    async def _read_roster(self) -> Roster:
        began = monotonic()
        offers = []
        for worker in await check_ins.online(self._statements):
            try:
                offers.append((self._offer(worker), worker))
            except msgspec.ValidationError:
                # Stored by another version of the server: it will be stored anew in a moment.
                log.warning("a stored offer cannot be read", worker=str(worker.id))
        self._roster = Roster(began, tuple(offers))
        return self._roster

    def _offer(self, worker: OnlineWorker) -> Offer:
        return image.offer(
            msgspec.convert(worker.offer, ImagePop),
            worker_id=str(worker.id),
            models=tuple(worker.models),
            trusted_owner=worker.owner_trusted,
            speed_things_per_second=worker.speed or image.DIVISOR,
            reference=self._reference,
        )
