# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who asks and who works: users of five tiers with heavy-tailed demand, workers of every size."""

from math import cos, exp, log, pi
from random import Random
from typing import Final

from msgspec import Struct

from openhorde.server.domain.bridges import OWN_NAME, REGEN_NAME
from openhorde.server.domain.kinds import image
from openhorde.server.domain.needs import Offer
from openhorde.simulation.catalogue import MODELS, Catalogue
from openhorde.wire.work import ImagePop

DAY_SECONDS: Final = 86_400.0
TIERS: Final = ("anonymous", "flagged", "poor", "middle", "rich")
TIER_SHARES: Final = {"flagged": 0.02, "poor": 0.58, "middle": 0.3, "rich": 0.1}
BALANCES_KUDOS: Final = {
    "anonymous": (-50, -50),
    "flagged": (25, 100_000),
    "poor": (25, 1_000),
    "middle": (1_000, 50_000),
    "rich": (50_000, 10_000_000),
}
"""Drawn evenly over the logarithm, whatever the tier's name promises for later."""

ANONYMOUS_SHARE: Final = 0.25
CONCURRENCY: Final = 30
CONCURRENCY_ANONYMOUS: Final = 500
DEMAND_POWER: Final = 1.3
DEMAND_MAX: Final = 100.0
PICTURES: Final = ((1, 0.5), (2, 0.15), (4, 0.25), (10, 0.07), (20, 0.03))
MEAN_PICTURES: Final = sum(count * share for count, share in PICTURES)
RHYTHM_DEPTH: Final = 0.35
SPEEDS_THINGS_PER_SECOND: Final = (80_000.0, 8_000_000.0)
SPEED_SPREAD: Final = 1.0
MODELS_MIN: Final = 5
MODELS_POWER: Final = 0.7
SESSION_SECONDS: Final = 4 * 3600.0
PAUSE_SECONDS: Final = 2 * 3600.0
AVAILABILITY: Final = SESSION_SECONDS / (SESSION_SECONDS + PAUSE_SECONDS)
OVERHEAD_SECONDS: Final = 1.5
"""What a job takes besides its steps: to fetch, load, encode and send."""


class User(Struct, kw_only=True):
    """Somebody who asks. `demand` is the share of the horde's requests that comes from here.

    `favourites` are the shapes that this user asks for (empty: anything that is popular).
    """

    id: int
    tier: str
    balance_milli: int
    demand: float
    concurrency: int = CONCURRENCY
    favourites: tuple[int, ...] = ()

    @property
    def flagged(self) -> bool:
        """Whether the moderators have flagged it."""
        return self.tier == "flagged"

    @property
    def anonymous(self) -> bool:
        """Whether it is the account of all who have none."""
        return self.tier == "anonymous"


class Machine(Struct, frozen=True, kw_only=True):
    """A worker: what it offers, how fast it is and when it is there (seconds from the start)."""

    number: int
    owner: int
    offer: Offer
    speed_things_per_second: float
    bridge_agent: str
    sessions: tuple[tuple[float, float], ...]


def rhythm(seconds: float) -> float:
    """How much is asked at this time of the day, compared with the mean. Highest in the evening."""
    return 1.0 - RHYTHM_DEPTH * cos(2 * pi * (seconds / DAY_SECONDS + 0.2))


def users(random: Random, count: int, shapes: int) -> list[User]:
    """The anonymous account (id 0) and `count` others; their demands sum to 1."""
    found = []
    tiers, shares = list(TIER_SHARES), list(TIER_SHARES.values())
    for number in range(1, count + 1):
        tier = random.choices(tiers, shares)[0]
        found.append(
            User(
                id=number,
                tier=tier,
                balance_milli=_balance_milli(random, tier),
                demand=min(random.paretovariate(DEMAND_POWER), DEMAND_MAX),
                favourites=tuple(
                    min(int(random.expovariate(6 / shapes)), shapes - 1) for _ in range(3)
                ),
            )
        )
    known = sum(user.demand for user in found)
    for user in found:
        user.demand *= (1 - ANONYMOUS_SHARE) / known
    anonymous = User(
        id=0,
        tier="anonymous",
        balance_milli=_balance_milli(random, "anonymous"),
        demand=ANONYMOUS_SHARE,
        concurrency=CONCURRENCY_ANONYMOUS,
    )
    return [anonymous, *found]


def machines(
    random: Random, count: int, owners: list[User], catalogue: Catalogue, seconds: float
) -> list[Machine]:
    """Workers; most belong to those who have kudos."""
    wealth = [{"rich": 12.0, "middle": 3.0, "poor": 0.5}.get(user.tier, 0.0) for user in owners]
    return [
        _machine(random, number, random.choices(owners, wealth)[0].id, catalogue, seconds)
        for number in range(count)
    ]


def _machine(
    random: Random, number: int, owner: int, catalogue: Catalogue, seconds: float
) -> Machine:
    low, high = SPEEDS_THINGS_PER_SECOND
    middle = exp((log(low) + log(high)) / 2)
    speed = min(high, max(low, random.lognormvariate(log(middle), SPEED_SPREAD)))
    models = catalogue.some_models(
        random, min(MODELS, int(MODELS_MIN * random.paretovariate(MODELS_POWER)))
    )
    picky = random.random() < 0.3
    agent = f"{OWN_NAME}:1:" if random.random() < 0.5 else f"{REGEN_NAME}:13:"
    pop = ImagePop(
        name=f"worker {number}",
        bridge_agent=agent,
        nsfw=not picky or random.random() < 0.5,
        max_pixels=random.choice((512 * 768, 1024 * 1024, 1024 * 1024, 2048 * 2048)),
        allow_img2img=not picky or random.random() < 0.6,
        allow_lora=random.random() < (0.2 if picky else 0.8),
        allow_post_processing=random.random() < (0.4 if picky else 0.9),
        require_upfront_kudos=picky and random.random() < 0.3,
    )
    return Machine(
        number=number,
        owner=owner,
        offer=image.offer(
            pop,
            worker_id=str(number),
            models=models,
            trusted_owner=True,
            speed_things_per_second=speed,
            reference=catalogue.reference,
        ),
        speed_things_per_second=speed,
        bridge_agent=agent,
        sessions=_sessions(random, seconds),
    )


def _sessions(random: Random, seconds: float) -> tuple[tuple[float, float], ...]:
    """When a worker is there: two thirds of the time, in the long run and at the start."""
    found = []
    here = random.random() < AVAILABILITY
    now = 0.0
    while now < seconds:
        until = now + random.expovariate(1 / (SESSION_SECONDS if here else PAUSE_SECONDS))
        if here:
            found.append((now, until))
        now, here = until, not here
    return tuple(found)


def _balance_milli(random: Random, tier: str) -> int:
    low, high = BALANCES_KUDOS[tier]
    if low <= 0:
        return low * 1000
    return round(exp(random.uniform(log(low), log(high))) * 1000)
