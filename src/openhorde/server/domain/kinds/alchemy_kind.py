# SPDX-License-Identifier: AGPL-3.0-or-later
"""Alchemy as a kind of work: every form of a request is a job of its own."""

from collections.abc import Sequence
from typing import Final

import msgspec

from openhorde.server.domain.kinds import alchemy
from openhorde.server.domain.kinds.alchemy_results import read_result
from openhorde.server.domain.kinds.face import (
    JobPlan,
    Kind,
    Order,
    Outcome,
    PictureFacts,
    Pictures,
    Source,
    TakenJob,
)
from openhorde.server.domain.lives import Faults
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.domain.pricing_lines import Estimate, PriceLine
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.requester import Requester
from openhorde.server.domain.shown_text import shown_notes
from openhorde.wire.alchemy import AlchemyPop, AlchemyRequest, FormSubmit
from openhorde.wire.requests import Warning

_PICTURE: Final = "-"
"""Stands for the picture in what is stored of a request."""


class AlchemyKind(Kind[AlchemyRequest, AlchemyPop]):
    """A picture goes in, and out of it comes what each form tells of it or makes of it."""

    name = alchemy.NAME
    request_type = AlchemyRequest
    pop_type = AlchemyPop
    submit_type = FormSubmit
    faults = Faults(4, apart=True)
    jobs_apart = True
    concurrency_factor = 10
    aborted_jobs_max = 100
    uptime_at_once = True
    speed_by_time = True
    priced_by_sources = True
    source_pixels_max = alchemy.TILES_MAX * alchemy.TILE_SIDE_PIXELS**2

    def check(
        self, request: AlchemyRequest, requester: Requester, reference: Reference
    ) -> tuple[AlchemyRequest, tuple[Warning, ...]]:
        """Each form once, and the rest as everywhere."""
        alchemy.check(request, requester)
        return request, ()

    def sources(self, request: AlchemyRequest) -> Sequence[Source]:
        """The one picture. Workers are given a URL as it is."""
        text = request.source_image
        return (Source(role="image", field="source_image", text=text, linked=True),)

    def check_source(self, source: Source, facts: PictureFacts) -> None:
        """At most 255 tiles."""
        alchemy.check_tiles(alchemy.tiles(facts.width, facts.height))

    def estimate(
        self, request: AlchemyRequest, pictures: Pictures, reference: Reference, *, shared: bool
    ) -> Estimate:
        """Rules 3.6."""
        return alchemy.estimate(request, _tiles(pictures))

    def jobs(
        self,
        request: AlchemyRequest,
        requester: Requester,
        pictures: Pictures,
        reference: Reference,
    ) -> Sequence[JobPlan]:
        """One for each form. All count as one thing, as speed is told in seconds per form; in the
        order of the queue each counts for what it is worth."""
        tiles = _tiles(pictures)
        return [
            JobPlan(
                alchemy.needs(form.name, tiles, request, requester),
                things=1,
                cost_things=alchemy.value(form.name, tiles),
            )
            for form in request.forms
        ]

    def order(
        self,
        request: AlchemyRequest,
        reference: Reference,
        *,
        shared: bool,
        ttl_seconds_min: int,
        random_seed: int,
    ) -> Order:
        """What is stored: all but the picture."""
        bare = msgspec.structs.replace(request, source_image=_PICTURE)
        return Order(
            body=msgspec.json.encode(bare).decode(),
            webhook=request.webhook,
            batching=False,
            base_milli=alchemy.BASE_MILLI,
            price_each_milli=alchemy.BASE_MILLI,
            tax_each_milli=alchemy.tax_milli(request),
            activation_milli=0,
            ttl_seconds=round(alchemy.FORM_TTL_FACTOR * ttl_seconds_min),
        )

    def price_lines(
        self, body: str, price_milli: int, *, has_sources: bool
    ) -> Sequence[PriceLine] | None:
        """What a form is worth."""
        return (PriceLine("the form", price_milli),)

    def serves(
        self, pop: AlchemyPop, reference: Reference, *, alias: str, customizer: bool, special: bool
    ) -> tuple[str, ...]:
        """Forms stand where others have models. Who names none is listed with captions."""
        return alchemy.known_forms(pop) or ("caption",)

    def offer(
        self,
        pop: AlchemyPop,
        *,
        worker_id: str,
        models: Sequence[str],
        trusted_owner: bool,
        speed_things_per_second: float,
        reference: Reference,
    ) -> Offer:
        """What the worker can and may do."""
        return alchemy.offer(
            pop,
            worker_id=worker_id,
            trusted_owner=trusted_owner,
            speed_forms_per_second=speed_things_per_second,
        )

    def models_for(self, needs: Needs, models: Sequence[str], pop: AlchemyPop) -> Sequence[str]:
        """The form itself."""
        return (alchemy.form_of(needs),)

    def job_multiplier(
        self, needs: Needs, model: str, pop: AlchemyPop, offer: Offer, reference: Reference
    ) -> float:
        """What the form is worth."""
        return alchemy.value(model, needs.size("tiles"))

    def outcome(self, submit: FormSubmit, job: TakenJob, reference: Reference) -> Outcome:
        """What the form was to tell or make."""
        value, picture = read_result(job.model, submit.result)
        notes = shown_notes(submit.gen_metadata)
        censored = submit.state in ("censored", "csam") or any(
            note["type"] == "censorship" for note in notes
        )
        return Outcome(
            result={"result": {job.model: value}, "censored": censored, "gen_metadata": notes},
            picture=picture,
            censored=censored,
        )

    def uptime_reward_milli(
        self, pop: AlchemyPop, models: Sequence[str], reference: Reference
    ) -> int:
        """The same for all."""
        return alchemy.UPTIME_REWARD_MILLI

    def performance(self, speed: float | None) -> str:
        """Seconds, unlike elsewhere: less is faster."""
        return f"{1 / speed:.1f} seconds per form" if speed else "No requests fulfilled yet"


def _tiles(pictures: Pictures) -> int:
    source = pictures["image"]
    return alchemy.tiles(source.width, source.height)
