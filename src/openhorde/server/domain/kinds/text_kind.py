# SPDX-License-Identifier: AGPL-3.0-or-later
"""Text as a kind of work."""

from collections.abc import Sequence

import msgspec

from openhorde.server.domain import policy
from openhorde.server.domain.kinds import text, text_cover, text_pricing, text_rules
from openhorde.server.domain.kinds.face import (
    Finder,
    JobPlan,
    Kind,
    Load,
    Order,
    Outcome,
    Pictures,
    TakenJob,
)
from openhorde.server.domain.kinds.text_variants import Variants
from openhorde.server.domain.kinds.text_work import CHARACTERS_MAX, tokens, ttl_seconds
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.domain.possibility import Candidate
from openhorde.server.domain.pricing_lines import Estimate, PriceLine
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.server.domain.shown_text import shown_notes
from openhorde.wire.requests import Warning
from openhorde.wire.text import TextPop, TextRequest, TextSubmit


class TextKind(Kind[TextRequest, TextPop]):
    """A prompt goes in, and what follows it comes out."""

    name = text.NAME
    request_type = TextRequest
    pop_type = TextPop
    submit_type = TextSubmit
    divisor = text.DIVISOR

    def check(
        self, request: TextRequest, requester: Requester, reference: Reference
    ) -> tuple[TextRequest, tuple[Warning, ...]]:
        """Rules 2.12. Nothing is warned of."""
        return text_rules.check(request, requester), ()

    def workers(self, request: TextRequest) -> Sequence[str]:
        """The workers listed."""
        return request.workers

    def with_workers(self, request: TextRequest, workers: Sequence[str]) -> TextRequest:
        """The request with other workers listed."""
        return msgspec.structs.replace(request, workers=list(workers))

    def estimate(
        self, request: TextRequest, pictures: Pictures, reference: Reference, *, shared: bool
    ) -> Estimate:
        """The most it can cost (rules 3.5)."""
        return text_pricing.estimate(request, reference.texts)

    def must_be_covered(
        self, request: TextRequest, reference: Reference, load: Load, estimate: Estimate
    ) -> bool:
        """The heavy-load rule (rules 2.12)."""
        return _rule(request, reference, load, estimate).required

    def cover(
        self,
        request: TextRequest,
        requester: Requester,
        reference: Reference,
        load: Load,
        estimate: Estimate,
    ) -> tuple[TextRequest, int]:
        """Paid in advance, or made shorter where that is allowed."""
        shorter = text_cover.downgrade(
            request,
            queued_jobs=load.queued_jobs,
            threads=load.threads,
            length_free=load.text_length_free,
        )
        rule = _rule(request, reference, load, estimate)
        accepted = text_cover.accept(request, requester, rule, shorter)
        return accepted.request, accepted.reserve_milli

    def jobs(
        self,
        request: TextRequest,
        requester: Requester,
        pictures: Pictures,
        reference: Reference,
    ) -> Sequence[JobPlan]:
        """So many times the same job as texts are asked for."""
        price_milli = text_pricing.most_milli(request, reference.texts)
        needs = text.needs(request, requester, price_each_milli=price_milli)
        length = request.params.max_length
        return (JobPlan(needs, length, length),) * request.params.n

    def order(
        self,
        request: TextRequest,
        reference: Reference,
        *,
        shared: bool,
        ttl_seconds_min: int,
        random_seed: int,
    ) -> Order:
        """What is stored of a text request."""
        base_milli = text_pricing.base_milli(request)
        return Order(
            body=msgspec.json.encode(request).decode(),
            screened_text=request.prompt.lower(),
            webhook=request.webhook,
            base_milli=base_milli,
            price_each_milli=base_milli,
            tax_each_milli=text_pricing.JOB_TAX_MILLI,
            activation_milli=text_pricing.activation_tax_milli(),
            ttl_seconds=ttl_seconds(request.params.max_length, ttl_seconds_min),
        )

    def price_lines(
        self, body: str, price_milli: int, *, has_sources: bool
    ) -> Sequence[PriceLine] | None:
        """As far as the request tells."""
        return text_pricing.price_lines(msgspec.json.decode(body, type=TextRequest), price_milli)

    def finder(
        self, candidates: Sequence[Candidate], reference: Reference
    ) -> Finder[TextRequest] | None:
        """Shorter ones, others' models, and so on."""
        return Variants(candidates)

    def serves(
        self, pop: TextPop, reference: Reference, *, alias: str, customizer: bool, special: bool
    ) -> tuple[str, ...]:
        """Any model, but branded ones only of this owner (rules 1.3)."""
        models = reference.texts.accept(pop.models, alias=alias)
        if not models:
            raise Refusal("BadRequest", reason="text models", given=pop.models[:5])
        return models

    def offer(
        self,
        pop: TextPop,
        *,
        worker_id: str,
        models: Sequence[str],
        trusted_owner: bool,
        speed_things_per_second: float,
        reference: Reference,
    ) -> Offer:
        """What the worker can and may do."""
        return text.offer(
            pop,
            worker_id=worker_id,
            models=models,
            trusted_owner=trusted_owner,
            speed_things_per_second=speed_things_per_second,
            reference=reference.texts,
        )

    def job_multiplier(
        self, needs: Needs, model: str, pop: TextPop, offer: Offer, reference: Reference
    ) -> float:
        """Rules 3.5."""
        return text_pricing.job_multiplier(
            model,
            reference.texts,
            max_length=needs.size("length"),
            validated="validated" in offer.words,
            trusted_owner="trusted" in offer.words,
            any_model=not needs.models,
        )

    def blocked_words(self, pop: TextPop) -> Sequence[str]:
        """The worker's blacklist."""
        return [word.lower() for word in policy.blacklist(pop.blacklist)]

    def outcome(self, submit: TextSubmit, job: TakenJob, reference: Reference) -> Outcome:
        """A text earns and costs by its length. `censored` and `csam` come as states."""
        length = len(submit.generation)
        if length > CHARACTERS_MAX:
            raise Refusal("TooLong", field="generation", maximum=CHARACTERS_MAX, given=length)
        notes = shown_notes(submit.gen_metadata)
        if submit.state == "csam" and not any(note["type"] == "censorship" for note in notes):
            notes.append({"type": "censorship", "value": "csam"})
        state = submit.state
        if state == "ok" and any(note["type"] == "censorship" for note in notes):
            state = "censored"
        return Outcome(
            result={
                "text": submit.generation,
                "seed": submit.seed or 0,
                "state": state,
                "gen_metadata": notes,
            },
            censored=state != "ok",
            share=text_pricing.earned_share(
                length,
                job.model,
                reference.texts,
                max_length=job.things,
                trusted_owner=job.trusted_owner,
            ),
            things=tokens(length, job.things),
        )

    def credited_share(self, bridge_agent: str) -> float:
        """All of it: what an agent is worth is in the price already."""
        return 1.0

    def uptime_reward_milli(self, pop: TextPop, models: Sequence[str], reference: Reference) -> int:
        """Rules 3.7."""
        return text.uptime_reward_milli(
            models,
            max_context_length=pop.max_context_length,
            bridge_agent=pop.bridge_agent,
            reference=reference.texts,
        )

    def performance(self, speed: float | None) -> str:
        """A new worker counts as one token a second."""
        return f"{speed or self.divisor:.1f} tokens per second"


def _rule(
    request: TextRequest, reference: Reference, load: Load, estimate: Estimate
) -> text_cover.Upfront:
    return text_cover.upfront(
        request,
        reference.texts,
        queued_jobs=load.queued_jobs,
        threads=load.threads,
        estimate_milli=estimate.total_milli,
        length_free=load.text_length_free,
    )
