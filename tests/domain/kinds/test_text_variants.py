# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import pytest

from openhorde.server.domain import matching
from openhorde.server.domain.kinds import text, text_rules
from openhorde.server.domain.kinds.text_variants import Variants
from openhorde.server.domain.kinds.variants import apply
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.domain.possibility import Candidate, Variant
from openhorde.server.domain.requester import Requester
from openhorde.server.domain.text_reference import TextReference
from openhorde.wire.text import TextParams, TextPop, TextRequest

REFERENCE = TextReference({"seven": 7.0})
SOMEBODY = Requester(user_id=5, alias="somebody#5", trusted=True)


def request(params: dict[str, Any] | None = None, **fields: Any) -> TextRequest:
    return TextRequest(prompt="Once", params=TextParams(**(params or {})), **fields)


def needs_of(wanted: TextRequest) -> Needs:
    checked = text_rules.check(wanted, SOMEBODY)
    return text.needs(checked, SOMEBODY, price_each_milli=1)


def candidate(
    worker_id: str = "w", models: tuple[str, ...] = ("seven",), threads: int = 1, **fields: Any
) -> Candidate:
    pop = TextPop(name="machine", **fields)
    return Candidate(offer_of(pop, worker_id, models), threads)


def offer_of(pop: TextPop, worker_id: str, models: tuple[str, ...]) -> Offer:
    return text.offer(
        pop,
        worker_id=worker_id,
        models=models,
        trusted_owner=False,
        speed_things_per_second=1.0,
        reference=REFERENCE,
    )


def nearest(wanted: TextRequest, *candidates: Candidate) -> Variant | None:
    variants = Variants(candidates)
    return variants.nearest(wanted, variants.closest(needs_of(wanted)), needs_of)


@pytest.mark.parametrize(
    ("wanted", "changes"),
    [
        (request(slow_workers=False), {"slow_workers": True}),
        (request(trusted_workers=True), {"trusted_workers": False}),
        (request(validated_backends=True), {"validated_backends": False}),
        (request(softprompt="poet"), {"softprompt": None}),
        (request(models=["other"]), {"models": ["seven"]}),
        (request(workers=["v"]), {"workers": []}),
        (request(workers=["v", "w"], worker_blacklist=True), {"workers": ["v"]}),
        (request({"max_length": 600}), {"params.max_length": 512}),
        (request({"max_context_length": 4096}), {"params.max_context_length": 2048}),
        (
            request({"max_length": 3000, "max_context_length": 4096}),
            {"params.max_length": 512, "params.max_context_length": 2048},
        ),
        (
            request(models=["other"], slow_workers=False),
            {"models": ["seven"], "slow_workers": True},
        ),
    ],
)
def test_the_nearest_change_makes_it_fit(wanted: TextRequest, changes: dict[str, Any]) -> None:
    worker = candidate()
    variant = nearest(wanted, worker)
    assert variant is not None
    assert variant.changes == changes
    assert matching.fits(needs_of(apply(wanted, variant.changes)), worker.offer)
    assert variant.sentence.startswith("It would run with ")
    assert all(path in variant.sentence for path in changes)


def test_a_text_is_never_longer_than_its_context() -> None:
    wanted = request({"max_length": 900, "max_context_length": 1000})
    variant = nearest(wanted, candidate(max_length=800, max_context_length=300))
    assert variant is not None
    assert variant.changes == {"params.max_length": 300, "params.max_context_length": 300}


def test_too_small_a_worker_helps_nobody() -> None:
    assert nearest(request(), candidate(max_context_length=79)) is None
    assert nearest(request({"max_length": 20}), candidate(max_length=15)) is None
    assert nearest(request(models=["other"])) is None


def test_what_means_least_is_given_up_first() -> None:
    wanted = request(models=["seven"], slow_workers=False)
    variant = nearest(wanted, candidate("a", ("other",)), candidate("b", ("seven",)))
    assert variant is not None
    assert variant.changes == {"slow_workers": True}


def test_the_model_that_most_serve_is_proposed() -> None:
    variant = nearest(
        request(models=["other"]), candidate("a", ("rare", "seven")), candidate("b", ("seven",))
    )
    assert variant is not None
    assert variant.changes == {"models": ["seven"]}


def test_payment_in_advance_is_no_change_of_the_request() -> None:
    poor = Requester(user_id=6, alias="poor#6")
    wanted = request()

    def needs_of_poor(changed: TextRequest) -> Needs:
        return text.needs(changed, poor, price_each_milli=1000)

    variants = Variants([candidate(require_upfront_kudos=True)])
    closest = variants.closest(needs_of_poor(wanted))
    assert variants.nearest(wanted, closest, needs_of_poor) is None
