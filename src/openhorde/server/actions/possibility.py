# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is told at submit: can it be done, what stands in the way, how long will it take?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from openhorde.server.domain import pricing
from openhorde.server.domain.kinds import image
from openhorde.server.domain.kinds.image_variants import Variant
from openhorde.server.domain.needs import Needs
from openhorde.server.domain.possibility import Obstacle
from openhorde.server.domain.requester import Requester
from openhorde.server.domain.waiting_time import Eta
from openhorde.server.store.requests import Place
from openhorde.wire.requests import ImageRequest

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.actions.workforce import Roster

OBSTACLES_TOLD = 2
PICTURE = "-"
"""Stands for a picture where only its being there matters."""


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
    """A judged request, what it needs, and where it would stand; `lane` is None when it is not
    going to be queued."""

    requester: Requester
    request: ImageRequest
    needs: Needs
    lane: int | None
    place: Place

    @property
    def last_rank(self) -> int:
        """The rank of its last job."""
        return self.place.rank + (self.request.params.n - 1) * self.place.step


async def look_ahead(horde: "Horde", asked: Asked, *, explained: bool = False) -> Outlook:
    """How a request stands; `explained` tells what rules workers out even when others fit.

    For a possible request of a known lane this is a look-up.
    """
    roster = await horde.workforce.roster()
    fitting = roster.fitting(asked.lane, asked.needs)
    if not fitting:
        obstacles = roster.explain(asked.lane, asked.needs).obstacles
        return Outlook(fitting=0, obstacles=obstacles, variant=_nearest(horde, roster, asked))
    snapshot = await horde.queue.snapshot()
    eta = horde.workforce.forecast(roster, snapshot, horde.queue.needs).eta(
        fitting,
        asked.needs.kind,
        rank=asked.last_rank,
        jobs=asked.request.params.n,
        things_each=image.size(asked.request).things,
    )
    obstacles = roster.explain(asked.lane, asked.needs).obstacles if explained else ()
    return Outlook(fitting=fitting.bit_count(), eta=eta, obstacles=obstacles)


def needs_of(horde: "Horde", requester: Requester, request: ImageRequest) -> Needs:
    """What a judged request needs of a worker, whatever it costs."""
    price = pricing.charge(request, pricing.image_base(request).base_milli)
    return image.needs(request, requester, horde.reference, price_each_milli=price.price_each_milli)


def _nearest(horde: "Horde", roster: "Roster", asked: Asked) -> Variant | None:
    def judged_needs(request: ImageRequest) -> Needs:
        image.check_features(request, asked.requester, horde.reference)
        return needs_of(horde, asked.requester, image.normalised(request, asked.requester))

    closest = roster.closest(asked.lane, asked.needs)
    return roster.variants().nearest(_light(asked.request), closest, judged_needs)


def _light(request: ImageRequest) -> ImageRequest:
    """The request without the weight of its pictures."""
    return msgspec.structs.replace(
        request,
        source_image=request.source_image and PICTURE,
        source_mask=request.source_mask and PICTURE,
        extra_source_images=[
            msgspec.structs.replace(extra, image=PICTURE) for extra in request.extra_source_images
        ],
    )
