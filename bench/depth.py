# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long a pop and a check take, with so and so many requests waiting."""

from collections import Counter
from typing import Any
from uuid import UUID

from bench import load
from bench.calls import request_bytes
from bench.demand import ordinary_offer, picky_offer
from bench.figures import Figure, Figures, percentile, percentiles_milli
from bench.filling import Queue
from bench.ground import Ground
from bench.limits import lanes_of
from bench.recording import Sent

BATCH_MAX = 100
"""After so many pops at most, new requests take the place of those that were taken."""

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
WARM_UP_CALLS = 10


async def measure(ground: Ground, figures: Figures, depth: int) -> None:
    """Fill both queues and measure on the one through HTTP, on the other with pgbench."""
    await ground.empty()
    await ground.calm()
    first = ground.limits_queue.next_number
    for queue in (ground.queue, ground.limits_queue):
        await queue.fill(depth)
    details: dict[str, Any] = {"depth": depth}
    figures.details[f"depth_{depth}"] = details
    await _checks(ground, figures, depth, first)
    ground.show(0.2)
    for name, offer, pops, limit_pops, shown in (
        ("pop", ordinary_offer, ground.plan.pops, ground.plan.limit_pops, 0.2),
        ("picky_pop", picky_offer, ground.plan.picky_pops, ground.plan.limit_picky_pops, 0.6),
    ):
        claim = await ground.inside.claim_for(ground.inside_owners[0], offer(f"{name} inside"))
        await ground.limits_queue.refill()
        lanes = lanes_of(claim)
        fitting = await ground.limits_queue.waiting(lanes)
        batch = max(1, min(BATCH_MAX, fitting // 4))
        seconds, empty, errors = await _pops(ground, offer(f"{name} worker"), pops, batch, shown)
        limits = await _claims(ground, claim, limit_pops, batch)
        details[name] = {
            "fitting_share": fitting / depth,
            "empty": empty,
            "errors": dict(errors.most_common(5)),
            "latency_ms": percentiles_milli(seconds),
            "limit_latency_ms": percentiles_milli(limits),
        }
        label = "pop" if name == "pop" else f"pop, picky ({fitting / depth:.1%} fits)"
        _add(figures, name, label, depth, seconds, limits)


async def _checks(ground: Ground, figures: Figures, depth: int, first: int) -> None:
    ids = await ground.queue.request_ids(ground.plan.checks)
    calls = [
        request_bytes("GET", f"/api/v2/generate/check/{ids[number % len(ids)]}")
        for number in range(ground.plan.checks)
    ]
    await ground.load(load.sequence, ground.server.port, calls[:WARM_UP_CALLS], 200)
    result = await ground.load(load.sequence, ground.server.port, calls, 200)
    looked_at = UUID((await ground.limits_queue.request_ids(1))[0])
    recorded = await ground.inside.check(looked_at)
    script = await ground.scripts.check(recorded, looked_at, first, first + depth - 1)
    limit = await ground.pgbench.run(script, clients=1, transactions=ground.plan.checks)
    figures.details[f"depth_{depth}"]["check"] = {
        "errors": dict(result.errors.most_common(5)),
        "latency_ms": percentiles_milli(result.latencies),
        "limit_latency_ms": percentiles_milli(limit.latencies),
    }
    _add(figures, "check", "check", depth, result.latencies, limit.latencies)


async def _pops(
    ground: Ground, offer: dict[str, Any], pops: int, batch: int, shown: float
) -> tuple[list[float], int, Counter[str]]:
    """One worker pops again and again; the queue is topped up in between."""
    pop = ground.pop_bytes(offer)
    await ground.load(load.sequence, ground.server.port, [pop] * min(batch, WARM_UP_CALLS), 200)
    await ground.queue.refill()
    seconds: list[float] = []
    empty, errors = 0, Counter[str]()
    while len(seconds) < pops:
        count = min(batch, pops - len(seconds))
        result = await ground.load(load.sequence, ground.server.port, [pop] * count, 200)
        seconds += result.latencies
        empty += result.empty
        errors += result.errors
        await ground.queue.refill()
        ground.show(shown + 0.3 * len(seconds) / pops)
    return seconds, empty, errors


async def _claims(ground: Ground, claim: Sent, pops: int, batch: int) -> list[float]:
    script = await ground.scripts.claim(claim)
    seconds: list[float] = []
    queue: Queue = ground.limits_queue
    while len(seconds) < pops:
        count = min(batch, pops - len(seconds))
        seconds += (await ground.pgbench.run(script, clients=1, transactions=count)).latencies
        await queue.refill()
    return seconds


def _add(
    figures: Figures,
    name: str,
    label: str,
    depth: int,
    seconds: list[float],
    limits: list[float],
) -> None:
    for word, share in PERCENTILES.items():
        figures.add(
            Figure(
                key=f"{name}_{depth}_{word}_ms",
                label=f"{label}, {depth:,} waiting, {word}",
                value=percentile(seconds, share) * 1000,
                unit="ms",
                limit=percentile(limits, share) * 1000,
            )
        )


def compare(figures: Figures, depths: tuple[int, ...]) -> None:
    """How much slower the deepest queue is than the shallowest."""
    for name, label in (("pop", "pop"), ("picky_pop", "picky pop"), ("check", "check")):
        low = figures.value(f"{name}_{depths[0]}_p99_ms")
        high = figures.value(f"{name}_{depths[-1]}_p99_ms")
        assert low.limit is not None
        assert high.limit is not None
        figures.add(
            Figure(
                key=f"{name}_growth",
                label=f"{label} p99: {depths[-1]:,} waiting against {depths[0]:,}",
                value=high.value / low.value,
                unit="times",
                limit=high.limit / low.limit,
                target="at most 2" if name != "check" else "",
            )
        )
