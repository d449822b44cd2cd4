# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain import matching
from openhorde.server.domain.kinds import text
from openhorde.server.domain.kinds.text_work import fast_tokens_per_second
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.domain.requester import Requester
from openhorde.server.domain.text_reference import TextReference
from openhorde.wire.text import TextParams, TextPop, TextRequest

REFERENCE = TextReference({"seven": 7.0, "thirteen": 13.0, "twenty": 20.0})
RICH = Requester(user_id=5, alias="somebody#5", balance_milli=10**9)
KOBOLD = "KoboldCppEmbedWorker:2:https://github.com/LostRuins/koboldcpp"


def needs(params: dict[str, Any] | None = None, **fields: Any) -> Needs:
    request = TextRequest(prompt="Once", params=TextParams(**(params or {})), **fields)
    return text.needs(request, RICH, price_each_milli=1000)


def offer(models: tuple[str, ...] = ("seven",), **fields: Any) -> Offer:
    speed = fields.pop("speed", 100.0)
    trusted = fields.pop("trusted", True)
    pop = TextPop(name="machine", **{"bridge_agent": KOBOLD, **fields})
    return text.offer(
        pop,
        worker_id="w",
        models=models,
        trusted_owner=trusted,
        speed_things_per_second=speed,
        reference=REFERENCE,
    )


def test_an_ordinary_request_fits_an_ordinary_worker() -> None:
    assert matching.lacking(needs(), offer()) == ()
    assert matching.lacking(needs(models=["seven"]), offer()) == ()


@pytest.mark.parametrize(
    ("wanted", "offered", "reasons"),
    [
        (needs({"max_length": 512}), offer(max_length=512), ()),
        (needs({"max_length": 513}), offer(max_length=512), ("max_length",)),
        (needs({"max_context_length": 2048}), offer(max_context_length=2048), ()),
        (
            needs({"max_context_length": 2049}),
            offer(max_context_length=2048),
            ("max_context_length",),
        ),
        (needs(models=["seven"]), offer(("Seven",)), ("models",)),
        (needs(models=["seven"]), offer(("seven.Q4_K_M",)), ("models",)),
        (needs(models=["seven::bob#2"]), offer(("seven::bob#2",)), ()),
        (needs(trusted_workers=True), offer(trusted=False), ("untrusted",)),
        (needs(validated_backends=True), offer(), ()),
        (needs(validated_backends=True), offer(bridge_agent="x:1:y"), ("bridge_version",)),
        (needs(slow_workers=False), offer(speed=5.0), ()),
        (needs(slow_workers=False), offer(speed=4.9), ("performance",)),
        (needs(slow_workers=False), offer(("thirteen",), speed=4.0), ()),
        (needs(slow_workers=False), offer(("twenty", "seven"), speed=3.0), ()),
        (needs(softprompt="poet"), offer(), ("matching_softprompt",)),
        (needs(softprompt="poet"), offer(softprompts=["poets"]), ("matching_softprompt",)),
        (needs(softprompt="poet"), offer(softprompts=["bard", "poet"]), ()),
        (needs(workers=["w"]), offer(), ()),
        (needs(workers=["v"]), offer(), ("worker_id",)),
        (needs(workers=["w"], worker_blacklist=True), offer(), ("worker_id",)),
    ],
)
def test_why_a_worker_gets_nothing(wanted: Needs, offered: Offer, reasons: tuple[str, ...]) -> None:
    assert matching.lacking(wanted, offered) == reasons
    assert matching.fits(wanted, offered) is (not reasons)


def test_who_cannot_pay_in_advance_is_served_by_the_generous() -> None:
    poor = msgspec.structs.replace(RICH, balance_milli=0)
    request = TextRequest(prompt="Once")
    wanted = text.needs(request, poor, price_each_milli=1000)
    assert matching.lacking(wanted, offer()) == ()
    assert matching.lacking(wanted, offer(require_upfront_kudos=True)) == ("kudos",)
    assert matching.lacking(needs(), offer(require_upfront_kudos=True)) == ()


def test_the_first_soft_prompts_of_a_worker_count() -> None:
    names = [f"prompt {number}" for number in range(text.SOFT_PROMPTS_MAX + 1)]
    offered = offer(softprompts=names)
    assert matching.fits(needs(softprompt=names[-2]), offered)
    assert not matching.fits(needs(softprompt=names[-1]), offered)


def test_a_new_worker_is_slow() -> None:
    assert "fast_text" not in offer(speed=float(text.DIVISOR)).words


@given(st.floats(0, 1000) | st.none())
def test_the_pace_falls_with_the_size(billions: float | None) -> None:
    assert fast_tokens_per_second(billions) in (3.0, 4.0, 5.0)
    assert fast_tokens_per_second((billions or 0) + 1) <= fast_tokens_per_second(billions)


@pytest.mark.parametrize(
    ("models", "context", "agent", "kudos"),
    [
        (("seven",), 1024, KOBOLD, 40),
        (("seven",), 2048, KOBOLD, 55),
        (("twenty", "seven"), 2048, KOBOLD, 55 * 20 / 7),
        (("seven",), 2048, "x:1:y", 55 * 0.3),
        (("unknown",), 2048, KOBOLD, 55 / 2),
        (("unknown",), 2048, "x:1:y", 55 / 2),
        ((), 2048, KOBOLD, 55 / 2),
        (("seven",), 1 << 20, KOBOLD, 25 + 15 * 256),
    ],
)
def test_what_readiness_earns(
    models: tuple[str, ...], context: int, agent: str, kudos: float
) -> None:
    earned = text.uptime_reward_milli(
        models, max_context_length=context, bridge_agent=agent, reference=REFERENCE
    )
    assert earned == pytest.approx(kudos * 1000, abs=1)


def test_a_small_model_earns_a_quarter_at_least() -> None:
    tiny = TextReference({"tiny": 0.001})
    earned = text.uptime_reward_milli(
        ["tiny"], max_context_length=1024, bridge_agent=KOBOLD, reference=tiny
    )
    assert earned == 10_000


def test_a_job_carries_what_was_asked() -> None:
    params = TextParams(n=3, max_length=100, max_context_length=1000, rep_pen=1.1, min_p=0.05)
    told = text.payload(TextRequest(prompt="Once", params=params))
    assert (told.prompt, told.n, told.max_length, told.max_context_length) == (
        "Once",
        1,
        100,
        1000,
    )
    assert (told.rep_pen, told.min_p, told.temperature) == (1.1, 0.05, None)
    assert (told.dynatemp_exponent, told.smoothing_factor) == (1.0, 0.0)
