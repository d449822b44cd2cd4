# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images as a kind of work."""

from collections.abc import Sequence
from typing import Final

import msgspec

from openhorde.server.domain import policy, pricing
from openhorde.server.domain.kinds import image, image_terms
from openhorde.server.domain.kinds.face import (
    Finder,
    JobPlan,
    Kind,
    Load,
    Order,
    Outcome,
    Pictures,
    SentPicture,
    Source,
    TakenJob,
    UploadedPicture,
)
from openhorde.server.domain.kinds.image_variants import Variants
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.domain.possibility import Candidate
from openhorde.server.domain.pricing_lines import Estimate, PriceLine
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.server.domain.shown_text import shown_notes
from openhorde.wire.requests import ImageRequest, Warning
from openhorde.wire.work import ImagePop, ImageSubmit

UPLOADED: Final = "R2"
_PICTURE: Final = "-"
"""Stands for a picture where only its being there matters."""


class ImageKind(Kind[ImageRequest, ImagePop]):
    """A prompt goes in, pictures come out."""

    name = image.NAME
    request_type = ImageRequest
    pop_type = ImagePop
    submit_type = ImageSubmit
    divisor = image.DIVISOR

    def check(
        self, request: ImageRequest, requester: Requester, reference: Reference
    ) -> tuple[ImageRequest, tuple[Warning, ...]]:
        """Rules 2.2."""
        return image.check(request, requester, reference)

    def workers(self, request: ImageRequest) -> Sequence[str]:
        """The workers listed."""
        return request.workers

    def with_workers(self, request: ImageRequest, workers: Sequence[str]) -> ImageRequest:
        """The request with other workers listed."""
        return msgspec.structs.replace(request, workers=list(workers))

    def shares(self, request: ImageRequest, requester: Requester) -> bool:
        """Rules 6.1."""
        return image.sharing(request, requester)

    def sources(self, request: ImageRequest) -> Sequence[Source]:
        """The source image, its mask, and extra ones."""
        found = []
        if request.source_image:
            found.append(Source(role="image", field="source_image", text=request.source_image))
        if request.source_mask:
            found.append(
                Source(role="mask", field="source_mask", text=request.source_mask, is_mask=True)
            )
        for place, extra in enumerate(request.extra_source_images):
            found.append(
                Source(
                    role=f"extra-{place}",
                    field=f"extra_source_images.{place}",
                    text=extra.image,
                    strength=extra.strength,
                )
            )
        return found

    def check_sources(self, request: ImageRequest, pictures: Pictures) -> None:
        """Inpainting needs a mask that selects something, or transparency."""
        if pictures:
            image.check_mask(request, pictures.get("image"), pictures.get("mask"))

    def estimate(
        self, request: ImageRequest, pictures: Pictures, reference: Reference, *, shared: bool
    ) -> Estimate:
        """Rules 3.4."""
        return pricing.estimate(request, reference, shared=shared)

    def must_be_covered(
        self, request: ImageRequest, reference: Reference, load: Load, estimate: Estimate
    ) -> bool:
        """The heavy-load rule (rules 2.4)."""
        rule = policy.upfront(
            request,
            reference,
            queued_jobs=load.queued_jobs,
            threads=load.threads,
            estimate_milli=estimate.total_milli,
        )
        return rule.required

    def cover(
        self,
        request: ImageRequest,
        requester: Requester,
        reference: Reference,
        load: Load,
        estimate: Estimate,
    ) -> tuple[ImageRequest, int]:
        """Paid in advance, or made smaller where that is allowed."""
        accepted = policy.accept(
            request,
            requester,
            reference,
            queued_jobs=load.queued_jobs,
            threads=load.threads,
            estimate_milli=estimate.total_milli,
        )
        return accepted.request, accepted.reserve_milli

    def jobs(
        self,
        request: ImageRequest,
        requester: Requester,
        pictures: Pictures,
        reference: Reference,
    ) -> Sequence[JobPlan]:
        """So many times the same job as pictures are asked for."""
        price = pricing.charge(request, pricing.image_base(request).base_milli)
        needs = image.needs(request, requester, reference, price_each_milli=price.price_each_milli)
        things = image.size(request).things
        return (JobPlan(needs, things, things),) * request.params.n

    def order(
        self,
        request: ImageRequest,
        reference: Reference,
        *,
        shared: bool,
        ttl_seconds_min: int,
        random_seed: int,
    ) -> Order:
        """What is stored of an image request; its pictures live in the object store."""
        base_milli = pricing.image_base(request).base_milli
        charge = pricing.charge(request, base_milli)
        params = request.params
        has_seed = params.seed or params.seed_variation
        bare = msgspec.structs.replace(
            request, source_image=None, source_mask=None, extra_source_images=[]
        )
        return Order(
            body=msgspec.json.encode(bare).decode(),
            screened_text=request.prompt.lower(),
            webhook=request.webhook,
            seed=image.base_seed(params.seed, random_seed) if has_seed else None,
            batching=not request.disable_batching,
            inline_results=not request.r2,
            shared=shared,
            base_milli=base_milli,
            price_each_milli=charge.price_each_milli,
            tax_each_milli=charge.tax_each_milli,
            activation_milli=pricing.activation_tax_milli(request, shared=shared),
            ttl_seconds=image.ttl_seconds(
                request, reference, extra_slow=False, minimum_seconds=ttl_seconds_min
            ),
        )

    def price_lines(
        self, body: str, price_milli: int, *, has_sources: bool
    ) -> Sequence[PriceLine] | None:
        """Line by line; of a picture that came with the request it is only known that it did."""
        request = msgspec.json.decode(body, type=ImageRequest)
        if has_sources:
            request = msgspec.structs.replace(request, source_image="")
        return pricing.price_lines(request, price_milli)

    def finder(
        self, candidates: Sequence[Candidate], reference: Reference
    ) -> Finder[ImageRequest] | None:
        """Variants of many sorts."""
        return Variants(candidates, reference)

    def light(self, request: ImageRequest) -> ImageRequest:
        """Without the weight of its pictures."""
        return msgspec.structs.replace(
            request,
            source_image=request.source_image and _PICTURE,
            source_mask=request.source_mask and _PICTURE,
            extra_source_images=[
                msgspec.structs.replace(extra, image=_PICTURE)
                for extra in request.extra_source_images
            ],
        )

    def judge_variant(
        self, request: ImageRequest, requester: Requester, reference: Reference
    ) -> ImageRequest:
        """How its parameters combine."""
        image.check_features(request, requester, reference)
        return image.normalised(request, requester)

    def serves(
        self, pop: ImagePop, reference: Reference, *, alias: str, customizer: bool, special: bool
    ) -> tuple[str, ...]:
        """Known models, and those that this owner may serve (rules 1.3)."""
        models = reference.accept(
            pop.models, customizer=customizer, special_alias=alias if special else None
        )
        if not models:
            raise Refusal("BadRequest", reason="models", given=pop.models[:5])
        return models

    def offer(
        self,
        pop: ImagePop,
        *,
        worker_id: str,
        models: Sequence[str],
        trusted_owner: bool,
        speed_things_per_second: float,
        reference: Reference,
    ) -> Offer:
        """What the worker can and may do."""
        return image.offer(
            pop,
            worker_id=worker_id,
            models=models,
            trusted_owner=trusted_owner,
            speed_things_per_second=speed_things_per_second,
            reference=reference,
        )

    def models_for(self, needs: Needs, models: Sequence[str], pop: ImagePop) -> Sequence[str]:
        """A request that names no model is not done under a name that only stands in."""
        able = super().models_for(needs, models, pop)
        own = [name for name in able if needs.models or name not in pop.stand_ins]
        return own or able

    def job_multiplier(
        self, needs: Needs, model: str, pop: ImagePop, offer: Offer, reference: Reference
    ) -> float:
        """Rules 3.2."""
        return image_terms.job_multiplier(needs, model, reference)

    def batch_amount(self, needs: Needs, model: str, pop: ImagePop, reference: Reference) -> int:
        """Rules 4.5."""
        return image_terms.batch_amount(needs, model, reference, pop)

    def blocked_words(self, pop: ImagePop) -> Sequence[str]:
        """The worker's blacklist."""
        return [word.lower() for word in policy.blacklist(pop.blacklist)]

    def ttl_factor(self, pop: ImagePop) -> int:
        """Extra slow workers get three times as long."""
        return 3 if pop.extra_slow_worker else 1

    def outcome(self, submit: ImageSubmit, job: TakenJob, reference: Reference) -> Outcome:
        """A picture that was uploaded or came along, its seed, and what the worker notes."""
        notes = shown_notes(submit.gen_metadata)
        said = submit.censored or submit.state in ("censored", "csam")
        if said and not any(note["type"] == "censorship" for note in notes):
            # Old workers say by the state alone that they censored a picture.
            value = "csam" if submit.state == "csam" else "nsfw"
            notes.append({"type": "censorship", "value": value})
        censored = any(note["type"] == "censorship" for note in notes)
        sent = submit.generation
        return Outcome(
            result={
                "seed": str(submit.seed if submit.seed is not None else 0),
                "censored": censored,
                "gen_metadata": notes,
            },
            picture=(
                UploadedPicture("generation")
                if sent == UPLOADED
                else SentPicture("generation", sent)
            ),
            censored=censored,
        )

    def uptime_reward_milli(
        self, pop: ImagePop, models: Sequence[str], reference: Reference
    ) -> int:
        """Rules 3.7."""
        return image.uptime_reward_milli(len(models), allow_lora=pop.allow_lora)

    def performance(self, speed: float | None) -> str:
        """A new worker counts as one megapixelstep a second."""
        return f"{(speed or self.divisor) / self.divisor:.1f} megapixelsteps per second"
