# SPDX-License-Identifier: AGPL-3.0-or-later
"""What texts cost, line by line (rules 3.5).

A text of so many tokens costs (tokens / 125) x C x S kudos: C grows with the context it may look
at, S with the model's parameters. What is priced when a request comes in is the longest text that
it allows; what is paid is the text that comes back. Amounts are thousandths of a kudos.
"""

from collections.abc import Iterator
from math import log2
from typing import Final

from openhorde.server.domain.kinds.text_work import tokens
from openhorde.server.domain.pricing_lines import Estimate, PriceLine
from openhorde.server.domain.text_reference import TextReference
from openhorde.wire.text import TextRequest

TOKENS_PER_KUDOS: Final = 125
CONTEXT_UNIT_TOKENS: Final = 1024
CONTEXT_START: Final = 1.2
CONTEXT_GROWTH: Final = 2.2
CONTEXT_MIN: Final = 0.1
CONTEXT_MAX: Final = 30.0
ORDINARY_BILLIONS: Final = 13.0
LARGE_MODEL_POWER: Final = 0.20
UNVALIDATED_FACTOR: Final = 0.3
"""What an agent earns of whose engine nobody knows what it does."""

UNKNOWN_MODEL_KUDOS_PER_TOKEN: Final = 0.027
"""Times C: what a trusted owner earns with a model of unknown size. Others earn C once."""

RESERVE_FACTOR: Final = 1.25
"""An estimate is so much above the price."""

JOB_TAX_MILLI: Final = 1000
ACTIVATION_TAX_MILLI: Final = 1000
STYLE_TAX_MILLI: Final = 2000


def context_multiplier(max_context_length: int) -> float:
    """C: what looking at a context of at most so many tokens multiplies the price by."""
    doublings = log2(max_context_length / CONTEXT_UNIT_TOKENS)
    grown = CONTEXT_START + float(CONTEXT_GROWTH**doublings)
    return min(CONTEXT_MAX, max(CONTEXT_MIN, grown))


def size_multiplier(billions: float) -> float:
    """S: what a model of so many billion parameters multiplies the price by."""
    over = max(billions, ORDINARY_BILLIONS) / ORDINARY_BILLIONS
    return float(over**LARGE_MODEL_POWER * billions)


def base_milli(request: TextRequest) -> int:
    """The price of one text of full length by a model of a billion parameters."""
    params = request.params
    kudos = params.max_length / TOKENS_PER_KUDOS * context_multiplier(params.max_context_length)
    return round(kudos * 1000)


def job_multiplier(
    model: str,
    reference: TextReference,
    *,
    max_length: int,
    validated: bool,
    trusted_owner: bool,
    any_model: bool,
) -> float:
    """What a text of full length by that model earns and costs, as a multiple of the base price.

    Who takes `any_model` pays at most what is reserved for an ordinary one.
    """
    billions = reference.billions(model)
    if billions is None:
        return _unknown_multiplier(max_length, trusted_owner=trusted_owner)
    multiplier = size_multiplier(billions) * (1 if validated else UNVALIDATED_FACTOR)
    return min(multiplier, _reserve_multiplier(ORDINARY_BILLIONS)) if any_model else multiplier


def most_milli(request: TextRequest, reference: TextReference) -> int:
    """The most that one text of the request can cost, before the tax."""
    return round(base_milli(request) * _dearest(request, reference)[1])


def earned_share(
    characters: int,
    model: str,
    reference: TextReference,
    *,
    max_length: int,
    trusted_owner: bool,
) -> float:
    """The share of a full text's price that a text of so many characters earns and costs: above 0,
    at most 1. Where a text earns the same whatever its length, 1."""
    if reference.billions(model) is None and not trusted_owner:
        return 1.0
    return tokens(characters, max_length) / max_length


def activation_tax_milli(*, someone_elses_style: bool = False) -> int:
    """What every request burns when it is accepted."""
    return ACTIVATION_TAX_MILLI + (STYLE_TAX_MILLI if someone_elses_style else 0)


def estimate(
    request: TextRequest,
    reference: TextReference,
    *,
    someone_elses_style: bool = False,
) -> Estimate:
    """The most that the request can cost; the lines sum exactly to it.

    Of several models the dearest counts; a request that takes any is priced as for an ordinary one.
    """
    base = base_milli(request)
    label, multiplier = _dearest(request, reference)
    lines = list(_base_lines(request))
    lines.append(PriceLine(label, round(base * multiplier) - base))
    lines.append(PriceLine("tax per text", JOB_TAX_MILLI))
    texts = request.params.n
    if texts > 1:
        one_milli = sum(line.milli for line in lines)
        lines.append(PriceLine(f"{texts} texts", one_milli * (texts - 1)))
    lines.append(PriceLine("tax per request", ACTIVATION_TAX_MILLI))
    if someone_elses_style:
        lines.append(PriceLine("somebody's style", STYLE_TAX_MILLI))
    return Estimate(sum(line.milli for line in lines), tuple(line for line in lines if line.milli))


def price_lines(request: TextRequest, price_milli: int) -> tuple[PriceLine, ...]:
    """Where the price of one delivered text came from; the lines sum exactly to it.

    What the request alone does not tell is the size of the model that the worker chose, and how
    much shorter than asked the text was.
    """
    lines = tuple(line for line in _base_lines(request) if line.milli)
    rest = price_milli - sum(line.milli for line in lines)
    if not rest:
        return lines
    return (*lines, PriceLine("the model's size, and the text's length", rest))


def _base_lines(request: TextRequest) -> Iterator[PriceLine]:
    params = request.params
    plain = round(params.max_length / TOKENS_PER_KUDOS * 1000)
    multiplier = context_multiplier(params.max_context_length)
    yield PriceLine(f"{params.max_length} tokens", plain)
    label = f"a context of {params.max_context_length} tokens: x {multiplier:.4g}"
    yield PriceLine(label, base_milli(request) - plain)


def _dearest(request: TextRequest, reference: TextReference) -> tuple[str, float]:
    """Where the most that a text can cost comes from, and how many base prices that is."""
    if not request.models:
        multiplier = _reserve_multiplier(ORDINARY_BILLIONS)
        label = f"any model, as of {ORDINARY_BILLIONS:g} billion parameters"
    else:
        multiplier, label = max(_most(name, request, reference) for name in request.models)
    return f"at most, {label}: x {multiplier:.4g}", multiplier


def _most(name: str, request: TextRequest, reference: TextReference) -> tuple[float, str]:
    billions = reference.billions(name)
    if billions is not None:
        return _reserve_multiplier(billions), f"{name} of {billions:g} billion parameters"
    multipliers = (
        _unknown_multiplier(request.params.max_length, trusted_owner=trusted)
        for trusted in (True, False)
    )
    return max(multipliers), f"{name}, whose size is unknown"


def _reserve_multiplier(billions: float) -> float:
    return size_multiplier(billions) * RESERVE_FACTOR


def _unknown_multiplier(max_length: int, *, trusted_owner: bool) -> float:
    """The base price holds C already: what is earned per token, or once, is put on top of it."""
    if trusted_owner:
        return UNKNOWN_MODEL_KUDOS_PER_TOKEN * TOKENS_PER_KUDOS
    return TOKENS_PER_KUDOS / max_length
