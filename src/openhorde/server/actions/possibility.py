# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is told at submit: can it be done, what stands in the way, how long will it take?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openhorde.server.domain.kinds.face import AnyKind, JobPlan
from openhorde.server.domain.needs import Needs
from openhorde.server.domain.possibility import Obstacle, Variant
from openhorde.server.domain.requester import Requester
from openhorde.server.domain.waiting_time import Eta
from openhorde.server.store.requests import Place

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.actions.workforce import Roster

OBSTACLES_TOLD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How a request stands with the workers online. `eta` is None when nobody fits; `obstacles`
    and `variant` are looked for only then, obstacles also where somebody asked."""

    fitting: int
    eta: Eta | None = None
    obstacles: tuple[Obstacle, ...] = ()
    variant: Variant | None = None

    @property
    def is_possible(self) -> bool:
        """Does any worker online fit?"""
        return self.fitting > 0

    @property
    def sentence(self) -> str:
        """Why nobody can do it, and what somebody would do; for a request that is impossible."""
        if not self.obstacles:
            return "No worker is online that does this kind of work."
        parts = ["No worker that is online now can do this request."]
        parts += [obstacle.sentence for obstacle in self.obstacles[:OBSTACLES_TOLD]]
        if self.variant:
            parts.append(self.variant.sentence)
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Asked:
    """A judged request, its jobs, and where they would stand; `lanes` is None when it is not going
    to be queued."""

    kind: AnyKind
    requester: Requester
    request: Any
    jobs: Sequence[JobPlan]
    lanes: Sequence[int] | None
    place: Place

    def parts(self) -> "list[_Part]":
        """Its jobs, those with equal needs together."""
        parts: dict[Needs, _Part] = {}
        for number, job in enumerate(self.jobs):
            part = parts.get(job.needs)
            if part is None:
                lane = self.lanes[number] if self.lanes is not None else None
                part = parts[job.needs] = _Part(job.needs, lane)
            part.jobs += 1
            part.last_rank = self.place.rank + self.place.offsets[number]
            part.things_each = max(part.things_each, job.things)
        return list(parts.values())


@dataclass(slots=True)
class _Part:
    """Jobs of a request with equal needs."""

    needs: Needs
    lane: int | None
    jobs: int = 0
    last_rank: int = 0
    things_each: int = 0


async def look_ahead(horde: "Horde", asked: Asked, *, explained: bool = False) -> Outlook:
    """How a request stands; `explained` tells what rules workers out even when others fit.

    A request whose jobs differ is as possible as the least possible of them, and takes as long as
    the slowest. For a possible request of known lanes this is a look-up.
    """
    roster = await horde.workforce.roster()
    parts = asked.parts()
    for part in parts:
        if not roster.fitting(part.lane, part.needs):
            why = roster.explain(part.lane, part.needs).obstacles
            return Outlook(fitting=0, obstacles=why, variant=_nearest(horde, roster, asked, part))
    snapshot = await horde.queue.snapshot()
    forecast = horde.workforce.forecast(roster, snapshot, horde.queue.needs)
    fewest, etas = len(roster.offers), []
    for part in parts:
        fitting = roster.fitting(part.lane, part.needs)
        fewest = min(fewest, fitting.bit_count())
        eta = forecast.eta(
            fitting,
            part.needs.kind,
            rank=part.last_rank,
            jobs=part.jobs,
            things_each=part.things_each,
        )
        if eta is not None:
            etas.append(eta)
    slowest = max(etas, key=lambda eta: eta.p90_seconds) if etas else None
    obstacles: tuple[Obstacle, ...] = ()
    if explained:
        obstacles = roster.explain(parts[0].lane, parts[0].needs).obstacles
    return Outlook(fitting=fewest, eta=slowest, obstacles=obstacles)


def _nearest(horde: "Horde", roster: "Roster", asked: Asked, part: _Part) -> Variant | None:
    kind = asked.kind

    def judged_needs(request: Any) -> Needs:
        judged = kind.judge_variant(request, asked.requester, horde.reference)
        return kind.jobs(judged, asked.requester, {}, horde.reference)[0].needs

    finder = roster.finder(kind)
    if finder is None:
        return None
    closest = roster.closest(kind, part.lane, part.needs)
    return finder.nearest(kind.light(asked.request), closest, judged_needs)
