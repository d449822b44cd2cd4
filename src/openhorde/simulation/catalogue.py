# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people ask for: models of Zipf popularity, and the kinds of request that are made of them.

A shape is a real `ImageRequest`, judged and priced by the rules of the server.
"""

from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Final

from msgspec import Struct

from openhorde.server.domain import pricing
from openhorde.server.domain.kinds import image
from openhorde.server.domain.kinds.image_terms import job_multiplier
from openhorde.server.domain.needs import Needs
from openhorde.server.domain.reference import ModelFacts, Reference
from openhorde.server.domain.requester import Requester
from openhorde.wire.image import ImageParams, Lora, PostProcessor, Sampler
from openhorde.wire.requests import ImageRequest

MODELS: Final = 200
ZIPF_POWER: Final = 1.1
SHAPES: Final = 400
BASELINE_SHARES: Final = {
    "stable diffusion 1": 0.5,
    "stable_diffusion_xl": 0.4,
    "stable_cascade": 0.03,
    "flux_1": 0.07,
}
SIDES_PIXELS: Final = {
    "stable diffusion 1": ((512, 512), (512, 768), (768, 768)),
    "stable_diffusion_xl": ((832, 1216), (1024, 1024), (768, 1024)),
    "stable_cascade": ((1024, 1024),),
    "flux_1": ((1024, 1024), (768, 1024)),
}
SAMPLERS: Final[tuple[Sampler, ...]] = ("k_euler_a", "k_euler", "k_dpmpp_2m", "k_dpmpp_sde")
STEPS: Final = (15, 20, 25, 30, 40)
SHARE_NSFW: Final = 0.35
SHARE_FROM_PICTURE: Final = 0.12
SHARE_LORA: Final = 0.25
SHARE_POST_PROCESSING: Final = 0.1
SHARE_ANY_MODEL: Final = 0.03
SHARE_FAST_ONLY: Final = 0.04
PICTURE: Final = "picture"


class Shape(Struct, frozen=True, kw_only=True):
    """One kind of request, per job of it. `market` is its first model, or "any".

    `needs_unpaid` are the needs when the requester could not pay `price_each_milli` in advance;
    `price_milli` is after the model's multiplier. Amounts in millikudos.
    """

    number: int
    market: str
    needs: Needs
    needs_unpaid: Needs
    things: int
    price_each_milli: int
    price_milli: int
    tax_milli: int
    reward_milli: int
    activation_milli: int


class Catalogue:
    """All models and shapes of one horde, by popularity."""

    def __init__(self, random: Random) -> None:
        facts = [
            ModelFacts(name=f"model {number}", baseline=_pick(random, BASELINE_SHARES))
            for number in range(1, MODELS + 1)
        ]
        self.reference = Reference(facts)
        self.models = [fact.name for fact in facts]
        self.popularity = [number**-ZIPF_POWER for number in range(1, MODELS + 1)]
        self._model_sums = list(accumulate(self.popularity))
        self.shapes = [self._shape(random, number) for number in range(SHAPES)]
        self._shape_sums = list(accumulate(_falling(SHAPES)))

    def draw(self, random: Random) -> Shape:
        """A shape that somebody asks for."""
        return random.choices(self.shapes, cum_weights=self._shape_sums)[0]

    def some_models(self, random: Random, count: int) -> tuple[str, ...]:
        """`count` different models that a worker's owner likes, popular ones more often."""
        if count >= MODELS:
            return tuple(self.models)
        found: dict[str, None] = {}
        while len(found) < count:
            found[random.choices(self.models, cum_weights=self._model_sums)[0]] = None
        return tuple(found)

    def mean_things(self) -> float:
        """The work of a job, in things, on average over what is asked."""
        weights = _falling(SHAPES)
        pairs = zip(self.shapes, weights, strict=True)
        total: float = sum(shape.things * weight for shape, weight in pairs)
        return total / sum(weights)

    def _shape(self, random: Random, number: int) -> Shape:
        request = self._request(random)
        base_milli = pricing.image_base(request).base_milli
        charge = pricing.charge(request, base_milli)
        paid, unpaid = (
            image.needs(
                request,
                Requester(user_id=1, alias="somebody#1", balance_milli=balance_milli),
                self.reference,
                price_each_milli=charge.price_each_milli,
            )
            for balance_milli in (10**12, 0)
        )
        model = request.models[0] if request.models else self.models[0]
        multiplier = job_multiplier(paid, model, self.reference)
        return Shape(
            number=number,
            market=request.models[0] if request.models else "any",
            needs=paid,
            needs_unpaid=unpaid,
            things=image.size(request).things,
            price_each_milli=charge.price_each_milli,
            price_milli=charge.price_each_milli * multiplier,
            tax_milli=charge.tax_each_milli,
            reward_milli=base_milli * multiplier,
            activation_milli=pricing.activation_tax_milli(request, shared=False),
        )

    def _request(self, random: Random) -> ImageRequest:
        model = random.choices(self.models, cum_weights=self._model_sums)[0]
        width, height = random.choice(SIDES_PIXELS[self.reference.baseline(model)])
        upscaler: PostProcessor = "RealESRGAN_x4plus"
        params = ImageParams(
            width=width,
            height=height,
            steps=random.choice(STEPS),
            sampler_name=random.choices(SAMPLERS, (6, 3, 2, 1))[0],
            loras=[Lora(name="a style")] if random.random() < SHARE_LORA else [],
            post_processing=[upscaler] if random.random() < SHARE_POST_PROCESSING else [],
        )
        return ImageRequest(
            prompt="a horse",
            params=params,
            models=[] if random.random() < SHARE_ANY_MODEL else [model],
            nsfw=random.random() < SHARE_NSFW,
            source_image=PICTURE if random.random() < SHARE_FROM_PICTURE else None,
            slow_workers=random.random() >= SHARE_FAST_ONLY,
            extra_slow_workers=True,
        )


def _falling(count: int) -> list[float]:
    """How often each shape is asked for, compared with the others."""
    return [1.0 / (number + 4) ** 0.8 for number in range(count)]


def _pick(random: Random, shares: dict[str, float]) -> str:
    names: Sequence[str] = list(shares)
    return random.choices(names, list(shares.values()))[0]
