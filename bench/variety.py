# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many lanes: the templates varied as people vary what they ask for, popular things often."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from bench.demand import RARE_MODEL, Shape, all_models
from bench.filling import LaneRow
from openhorde.server.domain.kinds import image
from openhorde.server.domain.matching import fits
from openhorde.server.domain.needs import Needs, Offer
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.requester import Requester
from openhorde.wire.requests import ImageRequest
from openhorde.wire.work import ImagePop

RARE_SHARE = 10_000
"""In a deep queue one request in so many is for the rare model's picky worker."""

RARE_MIN = 40
"""In a shallow queue so many are: of none it could pop none."""

DRAWS_MAX = 400_000


@dataclass(frozen=True, slots=True)
class Variety:
    """`templates` are the needs of the templates. `lanes` are those without the rare ones, in the
    order in which they were first asked for; `draws` are the requests in the order in which they
    came, each as its lane's place in `lanes`. `rare` are lanes that fit a picky worker."""

    templates: Sequence[Needs]
    lanes: Sequence[LaneRow]
    draws: Sequence[int]
    rare: Sequence[LaneRow]

    def turns(self, count: int, lanes: int) -> list[int]:
        """The lanes of `count` requests that use so many lanes besides the rare ones, as places in
        `lanes`, and behind these in `rare`: the rare come at even distances."""
        draws = [draw for draw in self.draws if draw < lanes]
        turns = [draws[number % len(draws)] for number in range(count)]
        rare_count = min(max(RARE_MIN, count // RARE_SHARE), count)
        for number in range(rare_count):
            turns[number * count // rare_count] = len(self.lanes) + number % len(self.rare)
        return turns

    def fitting_share(self, turns: Sequence[int], offer: Offer) -> float:
        """Which part of the requests fits an offer."""
        fitting = [fits(lane.needs, offer) for lane in (*self.lanes, *self.rare)]
        return sum(fitting[turn] for turn in turns) / len(turns)


def varied(
    random: Random,
    shapes: Sequence[Shape],
    count: int,
    requester: Requester,
    reference: Reference,
) -> Variety:
    """At least `count` lanes and what was drawn until there were so many.

    Models are popular by Zipf's law; four in five requests name one, the others two or any.
    """

    def needs_of(request: dict[str, Any]) -> tuple[Needs, str]:
        asked = msgspec.convert(request, ImageRequest)
        needs = image.needs(asked, requester, reference, price_each_milli=0)
        return needs, msgspec.json.encode(asked).decode()

    models = [model for model in all_models() if model != RARE_MODEL]
    popularity = [1 / (place + 2) for place in range(len(models))]
    ordinary = [n for n, shape in enumerate(shapes) if RARE_MODEL not in shape.request["models"]]
    weights = [shapes[number].weight for number in ordinary]
    lanes: dict[Needs, int] = {}
    rows: list[LaneRow] = []
    draws: list[int] = []
    while len(rows) < count:
        if len(draws) > DRAWS_MAX:
            raise RuntimeError(f"only {len(rows)} different lanes in {DRAWS_MAX} requests")
        template = random.choices(ordinary, weights)[0]
        request = _variant(random, shapes[template].request)
        named = random.choices((1, 2, 0), (0.8, 0.1, 0.1))[0]
        request["models"] = random.choices(models, popularity, k=named)
        needs, body = needs_of(request)
        if needs not in lanes:
            lanes[needs] = len(rows)
            rows.append(LaneRow(needs, template, body))
        draws.append(lanes[needs])
    rare = []
    plain = next(n for n, shape in enumerate(shapes) if RARE_MODEL in shape.request["models"])
    for karras in (False, True):
        for clip_skip in (1, 2):
            request = deepcopy(shapes[plain].request)
            request["params"] |= {"karras": karras, "clip_skip": clip_skip}
            needs, body = needs_of(request)
            rare.append(LaneRow(needs, plain, body))
    templates = [needs_of(shape.request)[0] for shape in shapes]
    return Variety(templates, rows, draws, rare)


def _variant(random: Random, request: dict[str, Any]) -> dict[str, Any]:
    """The same work, asked for with other wishes: size, steps and price stay."""
    request = deepcopy(request)
    params = request["params"]
    params["karras"] = random.random() < 0.6
    params["clip_skip"] = random.choices((1, 2), (0.8, 0.2))[0]
    params["tiling"] = random.random() < 0.03
    request["trusted_workers"] = random.random() < 0.15
    request["slow_workers"] = random.random() < 0.85
    request["nsfw"] = random.random() < 0.35
    request["censor_nsfw"] = not request["nsfw"]
    return request


def offer_of(pop: dict[str, Any], reference: Reference) -> Offer:
    """What a worker of a trusted owner offers with this pop."""
    said = msgspec.convert(pop, ImagePop)
    return image.offer(
        said,
        worker_id="",
        models=said.models,
        trusted_owner=True,
        speed_things_per_second=image.DIVISOR,
        reference=reference,
    )
