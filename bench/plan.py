# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much is done of everything: the whole measurement, or a smoke run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Counts and times of a run. All of them bound it; none of them is a verdict.

    `start_seconds` is what load processes have to connect before the clock starts;
    `calm_seconds_max` is the longest wait for the server's standing duties;
    after `seconds_max` the run is given up.
    """

    slots: int = 16
    warm_up_seconds: float = 3.0
    lifecycle_seconds: float = 12.0
    depths: tuple[int, ...] = (1_000, 10_000, 100_000)
    pops: int = 1_000
    picky_pops: int = 400
    checks: int = 1_000
    limit_pops: int = 600
    limit_picky_pops: int = 200
    crowd: int = 32
    crowd_pops: int = 60
    burst: int = 500
    burst_rounds: int = 3
    calm_seconds_max: int = 60
    start_seconds: float = 2.0
    seconds_max: int = 3_600


FULL = Plan()
QUICK = Plan(
    slots=4,
    warm_up_seconds=0.5,
    lifecycle_seconds=1.5,
    depths=(200, 1_000),
    pops=40,
    picky_pops=12,
    checks=40,
    limit_pops=40,
    limit_picky_pops=6,
    crowd=8,
    crowd_pops=10,
    burst=60,
    burst_rounds=1,
    calm_seconds_max=3,
    start_seconds=0.5,
    seconds_max=240,
)
