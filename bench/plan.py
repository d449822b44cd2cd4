# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much is done of everything: the whole measurement, or a smoke run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Depth:
    """A depth of the queue: requests that wait, and lanes that they wait in."""

    waiting: int
    lanes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Counts and times of a run. All of them bound it; none of them is a verdict.

    `served_by` is the number of server processes where it is not what is measured;
    `start_seconds` is what load processes have to connect before the clock starts;
    `calm_seconds_max` is the longest wait for the server's standing duties; `warm_up_calls` are not
    counted; after `seconds_max` the run is given up.
    """

    slots: int = 16
    served_by: int = 1
    processes: tuple[int, ...] = (1, 2, 4)
    warm_up_seconds: float = 3.0
    lifecycle_seconds: float = 12.0
    depths: tuple[Depth, ...] = (
        Depth(1_000, 230),
        Depth(10_000, 800),
        Depth(100_000, 2_900),
        Depth(1_000_000, 11_800),
    )
    warm_up_calls: int = 100
    pops: int = 1_500
    checks: int = 600
    limit_pops: int = 600
    hot: Depth = Depth(100_000, 2_900)
    hot_asks: int = 300
    idle_workers: int = 16
    pickups: int = 400
    streams: int = 1_000
    stream_workers: int = 8
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
    served_by=2,
    processes=(2,),
    warm_up_seconds=0.3,
    lifecycle_seconds=0.7,
    depths=(Depth(200, 40), Depth(1_000, 100)),
    warm_up_calls=4,
    pops=16,
    checks=20,
    limit_pops=16,
    hot=Depth(500, 40),
    hot_asks=10,
    idle_workers=3,
    pickups=8,
    streams=20,
    stream_workers=2,
    crowd=8,
    crowd_pops=6,
    burst=40,
    burst_rounds=1,
    calm_seconds_max=1,
    start_seconds=0.3,
    seconds_max=240,
)
