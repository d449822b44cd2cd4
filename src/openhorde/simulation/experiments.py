# SPDX-License-Identifier: AGPL-3.0-or-later
"""Attempts to get more than one's share: one user splitting, one flooding, many new accounts."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct, structs

from openhorde.server.domain.matching import fits
from openhorde.simulation.catalogue import Shape
from openhorde.simulation.engine import Demand, Plan, Simulation, World
from openhorde.simulation.measures import Served, percentile
from openhorde.simulation.population import RHYTHM_DEPTH, User

FIRST_GUEST: Final = 1_000_000
GUEST_BALANCE_MILLI: Final = 25_000
BEGIN_SHARE: Final = 0.25
SPLIT_JOBS: Final = 20
SPLIT_EVERY_SECONDS: Final = 2400.0
"""Long enough for all to be done or expired, so that the limit on waiting jobs plays no part."""

SPLIT_LAST_SECONDS: Final = 600.0
BURST_ACCOUNTS: Final = 50
JOBS_PER_ACCOUNT: Final = 30


class Attempt(Struct, frozen=True, kw_only=True):
    """What one attempt brought. Waits in seconds, of those jobs that were served.

    `served_per_account` counts the jobs that each of the guest's accounts got in the time of the
    attempt; `others` are all users of the world who asked in that time.
    """

    name: str
    policy: str
    served: int
    served_per_account: float
    mean_wait: float
    others_p50: float
    others_p95: float


def small(plan: Plan) -> Plan:
    """A horde of the plan's kind at its busiest, small enough to be run many times."""
    return structs.replace(
        plan,
        load=plan.load * (1 + RHYTHM_DEPTH),
        users=min(plan.users, 600),
        workers=min(plan.workers, 60),
        hours=min(plan.hours, 2.0),
    )


def attempts(plan: Plan, policy: str, on_progress: Callable[[float], None]) -> list[Attempt]:
    """All experiments on a world; the first is the world left alone."""
    world = World(plan)
    shape = _usual(world)
    begin, end = BEGIN_SHARE * world.seconds, world.seconds
    guests = {
        "none": [],
        "20 jobs, 1 request": _split(shape, SPLIT_JOBS, begin, end),
        "20 jobs, 20 requests": _split(shape, 1, begin, end),
        "30 waiting, always": _flood(shape, 1, begin, end),
        "30 waiting, 50 accounts": _flood(shape, BURST_ACCOUNTS, begin, end),
        "30 at once": _burst(shape, 1, begin),
        "30 at once, 50 accounts": _burst(shape, BURST_ACCOUNTS, begin),
    }
    found: list[Attempt] = []
    for name, demands in guests.items():
        found.append(_attempt(world, policy, name, demands))
        on_progress(len(found) / len(guests))
    return found


def _usual(world: World) -> Shape:
    """The most popular of the shapes that at least a third of the workers could serve, or the one
    that most of them could."""
    counts = [
        sum(fits(shape.needs_unpaid, machine.offer) for machine in world.machines)
        for shape in world.catalogue.shapes
    ]
    enough = min(max(counts), len(world.machines) / 3)
    return next(
        shape
        for shape, count in zip(world.catalogue.shapes, counts, strict=True)
        if count >= enough
    )


def _split(shape: Shape, jobs: int, begin: float, end: float) -> list[Demand]:
    """The same jobs again and again, in requests of so many."""
    user = _guest(0)
    found, now = [], begin
    while now < end - SPLIT_LAST_SECONDS:
        found += [Demand(now, user, shape, jobs) for _ in range(SPLIT_JOBS // jobs)]
        now += SPLIT_EVERY_SECONDS
    return found


def _flood(shape: Shape, accounts: int, begin: float, end: float) -> list[Demand]:
    return [
        Demand(begin, _guest(number), shape, JOBS_PER_ACCOUNT, until=end)
        for number in range(accounts)
    ]


def _burst(shape: Shape, accounts: int, begin: float) -> list[Demand]:
    return [Demand(begin, _guest(number), shape, JOBS_PER_ACCOUNT) for number in range(accounts)]


def _guest(number: int) -> User:
    return User(id=FIRST_GUEST + number, tier="poor", balance_milli=GUEST_BALANCE_MILLI, demand=0.0)


def _attempt(world: World, policy: str, name: str, guests: list[Demand]) -> Attempt:
    simulation = Simulation(world, policy, guests)
    simulation.run()
    accounts = {guest.user.id for guest in guests}
    mine = [job for job in simulation.served if job.user_id in accounts]
    others = [
        job.wait_seconds
        for job in simulation.served
        if job.user_id not in accounts and job.asked_at >= BEGIN_SHARE * world.seconds
    ]
    others.sort()
    return Attempt(
        name=name,
        policy=policy,
        served=len(mine),
        served_per_account=len(mine) / max(1, len(accounts)),
        mean_wait=_mean_wait(mine),
        others_p50=percentile(others, 0.5),
        others_p95=percentile(others, 0.95),
    )


def _mean_wait(jobs: list[Served]) -> float:
    return sum(job.wait_seconds for job in jobs) / max(1, len(jobs))
