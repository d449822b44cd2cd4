# SPDX-License-Identifier: AGPL-3.0-or-later
"""Alchemy: what may be asked, what a form needs, offers and is worth (rules 3.6, 5)."""

from collections import Counter
from typing import Final

import msgspec

from openhorde.server.domain.needs import (
    FORMS,
    POST_PROCESSORS,
    Needs,
    Offer,
    allows_unsafe_ip,
    form_word,
)
from openhorde.server.domain.pricing_lines import Estimate, PriceLine
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester, can_pay_in_advance
from openhorde.wire.alchemy import AlchemyPop, AlchemyRequest

NAME: Final = "alchemy"
TILE_SIDE_PIXELS: Final = 512
TILES_MAX: Final = 255
FORM_TTL_FACTOR: Final = 1.2
"""A form has so much more time than the horde gives any job: 180 s where that is 150 s."""
SLOW_SECONDS: Final = 10
"""Who takes so long for a form or longer is a slow worker."""

PAYLOAD_BYTES_MAX: Final = 10_000
BASE_MILLI: Final = 1000
TAX_MILLI: Final = 1000
FAST_WORKERS_TAX_MILLI: Final = 1000
UPTIME_REWARD_MILLI: Final = 40_000
VALUES: Final[dict[str, int]] = {"interrogation": 3}
VALUE_PER_TILE: Final = 3
PICTURE_FORMS: Final = frozenset(POST_PROCESSORS)
"""Their result is a picture; what they are worth grows with the source's size."""


def check(request: AlchemyRequest, requester: Requester) -> None:
    """Refuse what may not be asked. Shapes and bounds are checked already."""
    if request.webhook is not None and not request.webhook.startswith("https://"):
        raise Refusal("BadRequest", field="webhook", given=request.webhook)
    if requester.deleted:
        raise Refusal("DeletedUser")
    name, times = Counter(form.name for form in request.forms).most_common(1)[0]
    if times > 1:
        raise Refusal("BadRequest", field="forms", given=name)
    for form in request.forms:
        size = len(msgspec.json.encode(form.payload))
        if size > PAYLOAD_BYTES_MAX:
            raise Refusal("BadRequest", field="payload", form=form.name, maximum=PAYLOAD_BYTES_MAX)


def tiles(width: int, height: int) -> int:
    """How many squares of 512 pixels a picture is, begun ones too."""
    side = TILE_SIDE_PIXELS
    return -(-width // side) * -(-height // side)


def check_tiles(number: int) -> None:
    """Refuse a picture that no worker could offer to take."""
    if number > TILES_MAX:
        raise Refusal(
            "SourceImageResolutionExceeded",
            field="source_image",
            reason="tiles",
            given=number,
            maximum=TILES_MAX,
        )


def value(form: str, tile_count: int) -> int:
    """What doing a form is worth, in kudos."""
    return VALUE_PER_TILE * tile_count if form in PICTURE_FORMS else VALUES.get(form, 1)


def tax_milli(request: AlchemyRequest) -> int:
    """What each form is taxed. Refusing slow workers costs extra (rules 3.6, as decided)."""
    return TAX_MILLI if request.slow_workers else TAX_MILLI + FAST_WORKERS_TAX_MILLI


def estimate(request: AlchemyRequest, tile_count: int) -> Estimate:
    """What all forms cost together."""
    values = {form.name: value(form.name, tile_count) * BASE_MILLI for form in request.forms}
    lines = [PriceLine(name, milli) for name, milli in values.items()]
    count = len(request.forms)
    lines.append(
        PriceLine("tax per form" if count == 1 else f"tax of {count} forms", count * TAX_MILLI)
    )
    if not request.slow_workers:
        lines.append(PriceLine("no slow workers", count * FAST_WORKERS_TAX_MILLI))
    return Estimate(sum(line.milli for line in lines), tuple(lines))


def needs(form: str, tile_count: int, request: AlchemyRequest, requester: Requester) -> Needs:
    """What one form of a request needs."""
    price_milli = value(form, tile_count) * BASE_MILLI
    words = {
        form_word(form): True,
        "trusted": request.trusted_workers,
        "fast_forms": not request.slow_workers,
        "generous": not can_pay_in_advance(requester, price_milli),
    }
    return Needs(
        kind=NAME,
        words=tuple(sorted(word for word, needed in words.items() if needed)),
        sizes=(("tiles", tile_count),),
    )


def form_of(needs: Needs) -> str:
    """The form that these needs are those of."""
    return next(word.removeprefix("form:") for word in needs.words if word.startswith("form:"))


def known_forms(pop: AlchemyPop) -> tuple[str, ...]:
    """Those of the forms that a worker offers which this horde knows, each once."""
    return tuple(name for name in dict.fromkeys(pop.forms) if name in FORMS)


def offer(
    pop: AlchemyPop, *, worker_id: str, trusted_owner: bool, speed_forms_per_second: float
) -> Offer:
    """What a worker offers at this check-in."""
    allowed = {
        "trusted": trusted_owner,
        "fast_forms": speed_forms_per_second * SLOW_SECONDS > 1,
        "unsafe_ip": allows_unsafe_ip(pop.allow_unsafe_ipaddr, pop.allow_unsafe_ip),
        "generous": not pop.require_upfront_kudos,
        **{form_word(name): True for name in known_forms(pop)},
    }
    return Offer(
        kind=NAME,
        words=frozenset(word for word, has in allowed.items() if has),
        sizes_max={"tiles": pop.max_tiles},
        worker_id=worker_id,
    )
