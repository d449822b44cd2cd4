# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.kinds import alchemy
from openhorde.server.domain.kinds.alchemy_kind import AlchemyKind
from openhorde.server.domain.kinds.face import PictureFacts
from openhorde.server.domain.matching import fits, lacking
from openhorde.server.domain.needs import FORMS, POST_PROCESSORS
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.wire.alchemy import AlchemyPop, AlchemyRequest

RICH = Requester(user_id=5, alias="rich#5", balance_milli=1_000_000)
POOR = Requester(user_id=6, alias="poor#6", balance_milli=25_000)
REFERENCE = Reference([])


def request(*forms: str, **changes: Any) -> AlchemyRequest:
    body = {"source_image": "x", "forms": [{"name": name} for name in forms]}
    return msgspec.convert(body | changes, AlchemyRequest)


def offer(*forms: str, speed: float = 1.0, trusted: bool = True, **changes: Any) -> Any:
    pop = AlchemyPop(name="w", forms=list(forms), **changes)
    return alchemy.offer(pop, worker_id="w", trusted_owner=trusted, speed_forms_per_second=speed)


@pytest.mark.parametrize(
    ("width", "height", "count"),
    [(1, 1, 1), (512, 512, 1), (513, 512, 2), (1024, 1025, 6), (8192, 8192, 256)],
)
def test_tiles_begin_at_each_512_pixels(width: int, height: int, count: int) -> None:
    assert alchemy.tiles(width, height) == count


def test_at_most_255_tiles_are_taken() -> None:
    alchemy.check_tiles(255)
    with pytest.raises(Refusal) as refusal:
        alchemy.check_tiles(256)
    assert refusal.value.code == "SourceImageResolutionExceeded"
    assert refusal.value.facts["field"] == "source_image"


def test_what_forms_are_worth() -> None:
    assert {name: alchemy.value(name, 6) for name in FORMS} == {
        "caption": 1,
        "interrogation": 3,
        "nsfw": 1,
        "vectorize": 1,
        "palette": 1,
        "describe": 1,
        "aesthetic": 1,
        **dict.fromkeys(POST_PROCESSORS, 18),
    }


@given(st.sets(st.sampled_from(FORMS), min_size=1), st.integers(1, 255), st.booleans())
def test_an_estimate_is_what_all_forms_will_cost(
    forms: set[str], tiles: int, slow_workers: bool
) -> None:
    asked = request(*forms, slow_workers=slow_workers)
    estimate = alchemy.estimate(asked, tiles)
    assert estimate.total_milli == sum(line.milli for line in estimate.lines)
    kind, pop = AlchemyKind(), AlchemyPop(name="w", forms=list(forms))
    facts = {"image": PictureFacts(512 * tiles, 512)}
    order = kind.order(asked, REFERENCE, shared=False, ttl_seconds_min=150, random_seed=1)
    total = order.activation_milli
    for plan, form in zip(kind.jobs(asked, RICH, facts, REFERENCE), asked.forms, strict=True):
        able = offer(*forms, max_tiles=256)
        assert fits(plan.needs, able)
        (model,) = kind.models_for(plan.needs, (), AlchemyPop(name="w"))
        assert model == form.name
        multiplier = kind.job_multiplier(plan.needs, model, pop, able, REFERENCE)
        total += round(order.price_each_milli * multiplier) + order.tax_each_milli
        assert (plan.things, plan.cost_things) == (1, alchemy.value(model, tiles))
    assert total == estimate.total_milli
    assert order.ttl_seconds == 180


def test_refusing_slow_workers_costs_extra() -> None:
    asked = request("caption", "nsfw")
    fast = request("caption", "nsfw", slow_workers=False)
    assert alchemy.estimate(asked, 1).total_milli == 4000
    assert alchemy.estimate(fast, 1).total_milli == 6000


def test_what_stands_between_a_form_and_a_worker() -> None:
    hard = request("GFPGAN", slow_workers=False, trusted_workers=True)
    needs = alchemy.needs("GFPGAN", 100, hard, POOR)
    assert fits(needs, offer("GFPGAN", max_tiles=100))
    assert lacking(needs, offer("caption", max_tiles=100)) == ("forms",)
    assert lacking(needs, offer("GFPGAN", max_tiles=99)) == ("max_tiles",)
    assert lacking(needs, offer("GFPGAN", max_tiles=256, speed=0.1)) == ("performance",)
    assert lacking(needs, offer("GFPGAN", max_tiles=256, trusted=False)) == ("untrusted",)
    stingy = offer("GFPGAN", max_tiles=256, require_upfront_kudos=True)
    assert lacking(needs, stingy) == ("kudos",)
    assert fits(alchemy.needs("caption", 100, hard, POOR), offer("caption", max_tiles=100))


def test_a_worker_is_slow_from_ten_seconds_a_form_on() -> None:
    fast = alchemy.needs("caption", 1, request("caption", slow_workers=False), RICH)
    easy = alchemy.needs("caption", 1, request("caption"), RICH)
    assert fits(fast, offer("caption", speed=1 / 9.9))
    assert not fits(fast, offer("caption", speed=1 / 10.1))
    assert fits(easy, offer("caption", speed=1 / 1000))


def test_forms_are_asked_once_and_told_little() -> None:
    with pytest.raises(Refusal) as refusal:
        alchemy.check(request("caption", "nsfw", "caption"), RICH)
    assert refusal.value.facts == {"field": "forms", "given": "caption"}
    told = [{"name": "caption", "payload": {"prompt": "x" * 10_000}}]
    with pytest.raises(Refusal) as refusal:
        alchemy.check(request(forms=told), RICH)
    assert (refusal.value.facts["field"], refusal.value.facts["form"]) == ("payload", "caption")
    with pytest.raises(Refusal, match="BadRequest"):
        alchemy.check(request("caption", webhook="http://example.org"), RICH)
    with pytest.raises(Refusal, match="DeletedUser"):
        alchemy.check(request("caption"), msgspec.structs.replace(RICH, deleted=True))


def test_a_worker_that_names_no_form_is_listed_with_captions_and_gets_none() -> None:
    kind = AlchemyKind()
    for pop in (AlchemyPop(name="w"), AlchemyPop(name="w", forms=["cooking"])):
        assert kind.serves(pop, REFERENCE, alias="a#1", customizer=False, special=False) == (
            "caption",
        )
    assert not fits(alchemy.needs("caption", 1, request("caption"), RICH), offer("cooking"))


def test_readiness_is_worth_the_same_for_all() -> None:
    kind = AlchemyKind()
    assert kind.uptime_reward_milli(AlchemyPop(name="w"), ["caption"], REFERENCE) == 40_000
    assert kind.uptime_at_once
