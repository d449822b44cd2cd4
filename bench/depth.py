# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long a pop and a check take, with so and so many waiting, for all sorts of workers."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from bench import load
from bench.calls import request_bytes
from bench.demand import easy_offer, offer_of_models, picky_offer
from bench.figures import Figure, Figures, percentile, percentiles_milli
from bench.filling import Queue
from bench.ground import Ground
from bench.limits import lanes_of
from bench.plan import Depth
from bench.recording import Sent
from bench.variety import offer_of

BATCH_MAX = 100
"""After so many pops at most, new requests take the place of those that were taken."""

PERCENTILES = {"p50": 0.5, "p99": 0.99}
GROWTH_MAX = 1.5


class Sort(NamedTuple):
    """A sort of worker."""

    key: str
    label: str
    offer: Callable[[str], dict[str, Any]]


SORTS = (
    Sort("pop", "pop, easy worker", easy_offer),
    Sort("picky_pop", "pop, picky worker", picky_offer),
    *(
        Sort(
            f"models_{count}_pop",
            f"pop, worker with {count} model{'s' if count > 1 else ''}",
            partial(offer_of_models, count=count),
        )
        for count in (1, 20, 200)
    ),
)


@dataclass(slots=True)
class Calls:
    """What was seen of one sort of calls at one depth, on both visits: seconds of each, those of
    the same statement by pgbench, answers that brought nothing, errors."""

    seconds: list[float] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    empty: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "errors": dict(self.errors.most_common(5)),
            "latency_ms": percentiles_milli(self.seconds),
            "limit_latency_ms": percentiles_milli(self.limits),
        }


@dataclass(slots=True)
class Dive:
    """Visits every depth on the way down and again on the way up, so that a machine that becomes
    slower meanwhile does not look like a queue that does."""

    depths: Sequence[Depth]
    _seen: dict[tuple[str, int], Calls] = field(default_factory=lambda: defaultdict(Calls))
    _shares: dict[tuple[str, int], float] = field(default_factory=dict)
    _lanes: dict[int, int] = field(default_factory=dict)
    _turns: list[int] = field(default_factory=list)
    _filled: Depth | None = None

    def visits(self) -> list[Depth]:
        """The way down and up."""
        return [*self.depths, *reversed(self.depths)]

    async def visit(self, ground: Ground, _figures: Figures, depth: Depth) -> None:
        """Fill both queues and measure on the one through HTTP, on the other with pgbench."""
        await ground.serve()
        if self._filled != depth:
            self._turns = await ground.vary(depth.waiting, depth.lanes)
            self._filled = depth
            self._lanes[depth.waiting] = len(set(self._turns))
            await ground.serve_anew()
        ground.show(0.3)
        await _checks(ground, self._seen["check", depth.waiting], depth.waiting)
        reference = ground.inside.horde.reference
        for number, sort in enumerate(SORTS):
            name = f"{sort.key} {depth.waiting}"
            offer = sort.offer(name)
            share = ground.variety.fitting_share(self._turns, offer_of(offer, reference))
            self._shares[sort.key, depth.waiting] = share
            batch = max(1, min(BATCH_MAX, round(share * depth.waiting) // 4))
            inside = sort.offer(f"{name} inside")
            claim = await ground.inside.claim_for(ground.inside_owners[0], inside)
            await ground.limits_queue.refill()
            seen = self._seen[sort.key, depth.waiting]
            seconds, empty, errors = await pops(ground, offer, ground.plan.pops, batch)
            seen.seconds += seconds
            seen.empty += empty
            seen.errors += errors
            seen.limits += await claims(ground, claim, ground.plan.limit_pops)
            ground.show(0.3 + 0.7 * (number + 1) / len(SORTS))

    def tell(self, figures: Figures) -> None:
        """Add what was seen, depth by depth, and how much slower the deepest queue is than the
        shallowest."""
        for depth in self.depths:
            check = self._seen["check", depth.waiting]
            details: dict[str, Any] = {
                "depth": depth.waiting,
                "lanes": self._lanes[depth.waiting],
                "check": check.shown(),
            }
            label = f"{depth.waiting:,} waiting"
            key = f"check_{depth.waiting}"
            add_times(figures, key, f"check, {label}", check.seconds, check.limits)
            for sort in SORTS:
                seen = self._seen[sort.key, depth.waiting]
                details[sort.key] = {
                    "fitting_share": self._shares[sort.key, depth.waiting],
                    "empty": seen.empty,
                    **seen.shown(),
                }
                key = f"{sort.key}_{depth.waiting}"
                add_times(figures, key, f"{sort.label}, {label}", seen.seconds, seen.limits)
            figures.details[f"depth_{depth.waiting}"] = details
        _compare(figures, self.depths[0].waiting, self.depths[-1].waiting)


async def _checks(ground: Ground, seen: Calls, depth: int) -> None:
    ids = await ground.queue.request_ids(ground.plan.checks)
    calls = [
        request_bytes("GET", f"/api/v2/generate/check/{ids[number % len(ids)]}")
        for number in range(ground.plan.checks)
    ]
    warm_up = calls[: ground.plan.warm_up_calls]
    await ground.load(load.sequence, ground.server.port, warm_up, 200)
    result = await ground.load(load.sequence, ground.server.port, calls, 200)
    looked_at = UUID((await ground.limits_queue.request_ids(1))[0])
    recorded = await ground.inside.check(looked_at)
    last = ground.limits_queue.next_number - 1
    script = await ground.scripts.check(recorded, looked_at, last - depth + 1, last)
    limit = await ground.pgbench.run(script, clients=1, transactions=ground.plan.checks)
    seen.seconds += result.latencies
    seen.limits += limit.latencies
    seen.errors += result.errors


async def pops(
    ground: Ground, offer: dict[str, Any], count: int, batch: int
) -> tuple[list[float], int, Counter[str]]:
    """One worker pops again and again, the queue is topped up in between: seconds of each pop after
    the warm-up, how many brought nothing, errors."""
    pop = ground.pop_bytes(offer)
    warm_up = ground.plan.warm_up_calls
    seconds: list[float] = []
    empty, errors = 0, Counter[str]()
    while len(seconds) < warm_up + count:
        wanted = min(batch, warm_up + count - len(seconds))
        result = await ground.load(load.sequence, ground.server.port, [pop] * wanted, 200)
        seconds += result.latencies
        empty += result.empty
        errors += result.errors
        await ground.queue.refill()
    return seconds[warm_up:], empty, errors


async def claims(ground: Ground, claim: Sent, count: int) -> list[float]:
    """The same statement by pgbench: seconds of each."""
    script = await ground.scripts.claim(claim)
    seconds: list[float] = []
    queue: Queue = ground.limits_queue
    batch = max(1, min(BATCH_MAX, await queue.waiting(lanes_of(claim)) // 4))
    while len(seconds) < count:
        wanted = min(batch, count - len(seconds))
        seconds += (await ground.pgbench.run(script, clients=1, transactions=wanted)).latencies
        await queue.refill()
    return seconds


def add_times(
    figures: Figures, key: str, label: str, seconds: list[float], limits: list[float]
) -> None:
    """Add the percentiles of a call."""
    for word, share in PERCENTILES.items():
        figures.add(
            Figure(
                key=f"{key}_{word}_ms",
                label=f"{label}, {word}",
                value=percentile(seconds, share) * 1000,
                unit="ms",
                limit=percentile(limits, share) * 1000,
            )
        )


def _compare(figures: Figures, low_depth: int, high_depth: int) -> None:
    for name, label in [*((sort.key, sort.label) for sort in SORTS), ("check", "check")]:
        low = figures.value(f"{name}_{low_depth}_p99_ms")
        high = figures.value(f"{name}_{high_depth}_p99_ms")
        assert low.limit is not None
        assert high.limit is not None
        figures.add(
            Figure(
                key=f"{name}_growth",
                label=f"{label}, p99: {high_depth:,} waiting against {low_depth:,}",
                value=high.value / low.value,
                unit="times",
                limit=high.limit / low.limit,
                target="at most 1.5" if name != "check" else "",
                target_value=GROWTH_MAX if name != "check" else None,
            )
        )
