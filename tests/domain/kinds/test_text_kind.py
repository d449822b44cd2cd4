# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain import ledger
from openhorde.server.domain.kinds.face import TakenJob
from openhorde.server.domain.kinds.table import KINDS, kind_of
from openhorde.server.domain.kinds.text_kind import TextKind
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.server.domain.text_reference import TextReference
from openhorde.wire.text import TextParams, TextPop, TextRequest, TextSubmit

KIND = TextKind()
REFERENCE = Reference([], texts=TextReference({"seven": 7.0, "giant": 405.0}))
ALICE, BOB = 1, 2
AGENTS = ["KoboldCppEmbedWorker:2:x", "x:1:y"]


def outcome(submit: TextSubmit, *, model: str = "seven", things: int = 80) -> Any:
    return KIND.outcome(submit, TakenJob(model, things, trusted_owner=True), REFERENCE)


def test_the_table_knows_texts() -> None:
    assert isinstance(KINDS["text"], TextKind)
    assert isinstance(kind_of(TextRequest(prompt="x")), TextKind)
    assert isinstance(kind_of(TextPop(name="x")), TextKind)


@pytest.mark.parametrize(
    ("said", "state", "notes"),
    [
        ({}, "ok", []),
        ({"state": "censored"}, "censored", []),
        ({"state": "csam"}, "csam", [{"type": "censorship", "value": "csam"}]),
        (
            {"gen_metadata": [{"type": "censorship", "value": "csam"}]},
            "censored",
            [{"type": "censorship", "value": "csam"}],
        ),
        (
            {"gen_metadata": [{"type": "information", "value": "see_ref", "ref": "slow"}]},
            "ok",
            [{"type": "information", "value": "see_ref", "ref": "slow"}],
        ),
    ],
)
def test_what_a_worker_says_of_its_text(
    said: dict[str, Any], state: str, notes: list[dict[str, str]]
) -> None:
    judged = outcome(msgspec.convert({"id": "x", "generation": "Once"} | said, TextSubmit))
    assert judged.result["state"] == state
    assert judged.result["gen_metadata"] == notes
    assert judged.censored is (state != "ok")


def test_a_seed_is_zero_unless_it_is_said() -> None:
    assert outcome(TextSubmit(id="x")).result["seed"] == 0
    assert outcome(TextSubmit(id="x", seed=-1)).result["seed"] == -1


def test_a_text_has_a_bound() -> None:
    with pytest.raises(Refusal, match="TooLong"):
        outcome(TextSubmit(id="x", generation="a" * (10 * 1024 * 1024 + 1)))


def test_speed_is_told_in_tokens() -> None:
    assert KIND.performance(None) == "1.0 tokens per second"
    assert KIND.performance(12.34) == "12.3 tokens per second"


def test_agents_are_credited_all_of_it() -> None:
    assert {KIND.credited_share(agent) for agent in AGENTS} == {1.0}


def test_a_worker_without_a_model_of_its_own_is_refused() -> None:
    for models in ([], ["seven::alice#1"]):
        with pytest.raises(Refusal, match="BadRequest"):
            KIND.serves(
                TextPop(name="x", models=models),
                REFERENCE,
                alias="bob#2",
                customizer=False,
                special=False,
            )


@given(
    length=st.integers(16, 4096),
    context=st.integers(4096, 1 << 20),
    models=st.lists(st.sampled_from(["seven", "giant", "odd"]), max_size=3),
    texts=st.lists(
        st.tuples(
            st.integers(0, 20_000),
            st.sampled_from(["seven", "giant", "odd"]),
            st.sampled_from(AGENTS),
            st.booleans(),
            st.sampled_from(["ok", "censored", "csam"]),
        ),
        min_size=1,
        max_size=20,
    ),
)
def test_settlements_stay_within_the_reservation_and_the_books_balance(
    length: int, context: int, models: list[str], texts: list[tuple[int, str, str, bool, str]]
) -> None:
    params = TextParams(n=len(texts), max_length=length, max_context_length=context)
    request = TextRequest(prompt="Once", params=params, models=models)
    alice = Requester(user_id=ALICE, alias="alice#1")
    reserved_milli = KIND.estimate(request, {}, REFERENCE, shared=False).total_milli
    order = KIND.order(request, REFERENCE, shared=False, ttl_seconds_min=150, random_seed=0)
    request_id = UUID(int=1)
    entries = [
        # What is held is drawn on by the request's own charges, its activation first.
        *ledger.reserve(request_id, ALICE, reserved_milli),
        *ledger.activate(request_id, ALICE, order.activation_milli),
    ]
    paid_milli = 0
    for number, (characters, served, agent, trusted, state) in enumerate(texts):
        model = models[number % len(models)] if models else served
        needs = KIND.jobs(request, alice, {}, REFERENCE)[number].needs
        pop = TextPop(name="x", models=[model], bridge_agent=agent, max_length=4096)
        offer = KIND.offer(
            pop,
            worker_id="w",
            models=[model],
            trusted_owner=trusted,
            speed_things_per_second=1,
            reference=REFERENCE,
        )
        multiplier = KIND.job_multiplier(needs, model, pop, offer, REFERENCE)
        submit = TextSubmit(id="x", generation="a" * characters, state=state)  # type: ignore[arg-type]
        judged = KIND.outcome(submit, TakenJob(model, length, trusted), REFERENCE)
        assert judged.things is not None
        assert 0 < judged.things <= length
        delivered = ledger.deliver(
            UUID(int=100 + number),
            request_id,
            payer=ALICE,
            owner=BOB,
            owner_trusted=trusted,
            reward_milli=round(round(order.base_milli * multiplier) * judged.share),
            price_milli=round(round(order.price_each_milli * multiplier) * judged.share),
            tax_milli=order.tax_each_milli,
            censored=judged.censored,
            bridge_multiplier=KIND.credited_share(agent),
        )
        paid_milli += sum(leg.amount_milli for leg in delivered if leg.debit == 2 * ALICE)
        entries += delivered * 2
    left_milli = reserved_milli - order.activation_milli - paid_milli
    assert left_milli >= 0
    entries += ledger.release(request_id, ALICE, left_milli)
    folded = ledger.fold({2 * ALICE: 10**12, ledger.MINT: -(10**12)}, {}, entries, {})
    assert ledger.total(folded.balances) == 0
    assert folded.held == {}
    assert 10**12 - folded.balances[2 * ALICE] == paid_milli + order.activation_milli
    assert 10**12 - folded.balances[2 * ALICE] <= reserved_milli


@pytest.mark.parametrize(
    ("max_length", "minimum", "seconds"),
    [
        (16, 150, 150),
        (240, 150, 150),
        (241, 150, 151),
        (512, 150, 286),
        (4096, 150, 2078),
        (80, 1, 70),
    ],
)
def test_the_time_for_a_text_grows_with_its_length(
    max_length: int, minimum: int, seconds: int
) -> None:
    params = TextParams(max_length=max_length)
    request = TextRequest(prompt="Once", params=params)
    order = KIND.order(request, REFERENCE, shared=False, ttl_seconds_min=minimum, random_seed=0)
    assert order.ttl_seconds == seconds
