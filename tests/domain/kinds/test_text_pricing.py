# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.kinds import text_pricing as pricing
from openhorde.server.domain.kinds.text_work import tokens
from openhorde.server.domain.text_reference import TextReference
from openhorde.wire.text import TextParams, TextRequest

SIZES = {"tiny": 0.5, "seven": 7.0, "thirteen": 13.0, "seventy": 70.0, "giant": 405.0}
REFERENCE = TextReference(SIZES)
MODELS = st.sampled_from([*SIZES, "unknown", "seven.Q4_K_M"])


def request(params: dict[str, Any] | None = None, **fields: Any) -> TextRequest:
    return TextRequest(prompt="Once", params=TextParams(**(params or {})), **fields)


REQUESTS = st.builds(
    lambda length, extra, n, models: request(
        {"max_length": length, "max_context_length": max(80, min(1 << 20, length + extra)), "n": n},
        models=models,
    ),
    st.integers(16, 4096),
    st.integers(0, 1 << 20),
    st.integers(1, 20),
    st.lists(MODELS, max_size=3),
)


@pytest.mark.parametrize(
    ("context", "multiplier"),
    [(1024, 2.2), (2048, 3.4), (4096, 6.04), (8192, 11.848), (512, 1.2 + 1 / 2.2)],
)
def test_the_context_multiplies(context: int, multiplier: float) -> None:
    assert pricing.context_multiplier(context) == pytest.approx(multiplier)


def test_the_context_does_not_multiply_for_ever() -> None:
    assert pricing.context_multiplier(1 << 20) == 30


@pytest.mark.parametrize(
    ("model", "validated", "trusted", "kudos"),
    [
        ("seven", True, False, 80 * 7 / 125 * 3.4),
        ("seven.Q4_K_M::somebody#1", True, True, 80 * 7 / 125 * 3.4),
        ("seven", False, True, 80 * 7 / 125 * 3.4 * 0.3),
        ("seventy", True, True, 80 * (70 / 13) ** 0.2 * 70 / 125 * 3.4),
        ("unknown", True, True, 80 * 3.4 * 0.027),
        ("unknown", False, True, 80 * 3.4 * 0.027),
        ("unknown", True, False, 3.4),
    ],
)
def test_what_a_text_of_full_length_earns(
    model: str, validated: bool, trusted: bool, kudos: float
) -> None:
    multiplier = pricing.job_multiplier(
        model,
        REFERENCE,
        max_length=80,
        validated=validated,
        trusted_owner=trusted,
        any_model=False,
    )
    earned = pricing.base_milli(request()) * multiplier / 1000
    assert earned == pytest.approx(kudos, rel=0.001)


@pytest.mark.parametrize(
    ("characters", "max_length", "counted"),
    [(0, 80, 20), (80, 80, 20), (81, 80, 21), (320, 80, 80), (9999, 80, 80), (9, 16, 16)],
)
def test_tokens_of_a_text(characters: int, max_length: int, counted: int) -> None:
    assert tokens(characters, max_length) == counted


def test_shorter_texts_earn_less_unless_they_earn_the_same_anyway() -> None:
    def share(model: str, *, trusted: bool) -> float:
        return pricing.earned_share(160, model, REFERENCE, max_length=80, trusted_owner=trusted)

    assert share("seven", trusted=False) == share("seven", trusted=True) == 0.5
    assert share("unknown", trusted=True) == 0.5
    assert share("unknown", trusted=False) == 1


@given(REQUESTS, MODELS, st.booleans(), st.booleans(), st.integers(0, 1 << 24))
def test_an_estimate_covers_whatever_is_delivered(
    wanted: TextRequest, served: str, validated: bool, trusted: bool, characters: int
) -> None:
    whole = pricing.estimate(wanted, REFERENCE)
    left = whole.total_milli - pricing.activation_tax_milli()
    for model in wanted.models or [served]:
        length = wanted.params.max_length
        multiplier = pricing.job_multiplier(
            model,
            REFERENCE,
            max_length=length,
            validated=validated,
            trusted_owner=trusted,
            any_model=not wanted.models,
        )
        reserved = round(pricing.base_milli(wanted) * multiplier)
        share = pricing.earned_share(
            characters, model, REFERENCE, max_length=length, trusted_owner=trusted
        )
        assert 0 < share <= 1
        paid = round(reserved * share) + pricing.JOB_TAX_MILLI
        assert paid * wanted.params.n <= left


@given(REQUESTS, st.booleans())
def test_lines_explain_an_estimate_exactly(wanted: TextRequest, style: bool) -> None:
    whole = pricing.estimate(wanted, REFERENCE, someone_elses_style=style)
    assert sum(line.milli for line in whole.lines) == whole.total_milli
    assert all(line.label and line.milli for line in whole.lines)


@given(REQUESTS, st.integers(0, 10**9))
def test_lines_explain_a_price_exactly(wanted: TextRequest, price: int) -> None:
    assert sum(line.milli for line in pricing.price_lines(wanted, price)) == price


@given(REQUESTS, st.integers(0, 4096), st.integers(0, 1 << 20))
def test_longer_texts_and_contexts_never_cost_less(
    wanted: TextRequest, longer: int, deeper: int
) -> None:
    params = wanted.params
    more = request(
        {
            "max_length": params.max_length + longer,
            "max_context_length": params.max_context_length + deeper,
        }
    )
    assert pricing.base_milli(more) >= pricing.base_milli(wanted)


def test_an_estimate_is_that_of_the_rules() -> None:
    one = 80 * 7 * 3.4 / 100
    assert pricing.estimate(
        request({"n": 3}, models=["seven"]), REFERENCE
    ).total_milli == pytest.approx(((one + 1) * 3 + 1) * 1000, abs=10)
    anything = pricing.estimate(request(), REFERENCE).total_milli
    assert anything == pytest.approx((80 * 13 * 3.4 / 100 + 2) * 1000, abs=10)


def test_who_takes_any_model_pays_for_an_ordinary_one_at_most() -> None:
    def multiplier(model: str, *, any_model: bool) -> float:
        return pricing.job_multiplier(
            model,
            REFERENCE,
            max_length=80,
            validated=True,
            trusted_owner=True,
            any_model=any_model,
        )

    ordinary = pricing.size_multiplier(13) * pricing.RESERVE_FACTOR
    assert multiplier("giant", any_model=True) == multiplier("seventy", any_model=True) == ordinary
    assert multiplier("giant", any_model=False) > multiplier("seventy", any_model=False) > ordinary
    assert multiplier("seven", any_model=True) == multiplier("seven", any_model=False) == 7


def test_of_several_models_the_dearest_is_estimated() -> None:
    def total(*models: str) -> int:
        return pricing.estimate(request(models=list(models)), REFERENCE).total_milli

    assert total("seven", "seventy", "unknown") == total("seventy") > total("seven")


def test_what_a_request_burns() -> None:
    assert pricing.activation_tax_milli() == 1000
    assert pricing.activation_tax_milli(someone_elses_style=True) == 3000
