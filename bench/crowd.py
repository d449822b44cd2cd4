# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many at once: workers that pop together while jobs wait, and a burst of requests."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from bench import load
from bench.demand import complete_offer, picky_offer
from bench.figures import Figure, Figures, percentiles_milli
from bench.ground import LOAD_PROCESSES, Ground
from bench.load import CallResult
from bench.variety import offer_of
from openhorde.server.domain.matching import fits

POOL_CONNECTIONS = 12
"""As many as the server's pool has by default: more of pgbench's would not be the same work."""

SPARE = 2
"""The queue holds this many times what the crowd can take, so that something always waits."""


async def pop_together(ground: Ground, figures: Figures) -> None:
    """Workers that fit everything, then workers that all want the same lane."""
    for key, label, offer, shown in (
        ("crowd", "many lanes", complete_offer, 0.0),
        ("crowd_one_lane", "one lane", picky_offer, 0.5),
    ):
        ground.show(shown)
        await _pop_together(ground, figures, key, label, offer)


async def _pop_together(ground: Ground, figures: Figures, key: str, label: str, offer: Any) -> None:
    plan = ground.plan
    await ground.serve()
    await ground.empty()
    pops = plan.crowd * plan.crowd_pops
    lanes = await _fill(ground, offer, pops * SPARE)
    calls = [
        [ground.pop_bytes(offer(f"{key} {number}"), number)] * plan.crowd_pops
        for number in range(plan.crowd)
    ]
    # Each worker is known before the clock starts, as nearly all are at any moment.
    first = [[per_worker[0]] for per_worker in calls]
    await _together(ground, first, 200)
    result = await _together(ground, calls, 200)
    left = await ground.queue.waiting(lanes)
    claim = await ground.inside.claim_for(ground.inside_owners[0], offer(f"{key} inside"))
    limit = await ground.pgbench.run(
        await ground.scripts.claim(claim), clients=POOL_CONNECTIONS, transactions=pops
    )
    figures.details[key] = {
        "workers": plan.crowd,
        "pops": len(result.latencies),
        "heard_nothing": result.empty,
        "fitting_jobs_left": left,
        "errors": dict(result.errors.most_common(5)),
        "reconnected": len(result.reconnected),
        "latency_ms": percentiles_milli(result.latencies),
        "limit_latency_ms": percentiles_milli(limit.latencies),
    }
    figures.add(
        Figure(
            key=f"{key}_heard_nothing_share",
            label=f"{plan.crowd} workers at once, {label}: falsely heard “nothing”",
            # Every "nothing" is wrong as long as something that fits is left at the end.
            value=result.empty / len(result.latencies) if left else float("nan"),
            unit="share",
            target="0",
        ),
        Figure(
            key=f"{key}_pops_per_second",
            label=f"{plan.crowd} workers at once, {label}: pops",
            value=len(result.latencies) / result.seconds,
            unit="1/s",
            limit=limit.per_second,
        ),
    )


async def _fill(ground: Ground, offer: Any, count: int) -> list[int]:
    """Fill both queues with jobs that all fit this offer; their lanes at the server."""
    wanted = offer_of(offer("inside"), ground.inside.horde.reference)
    places = [
        number for number, needs in enumerate(ground.variety.templates) if fits(needs, wanted)
    ]
    if offer is picky_offer:
        places = places[:1]
    for queue in (ground.queue, ground.limits_queue):
        await queue.fill(count, [queue.templates[place] for place in places])
    return [ground.queue.templates[place] for place in places]


async def burst(ground: Ground, figures: Figures) -> None:
    """Requests from many accounts at the same instant, each on its own connection."""
    plan = ground.plan
    await ground.serve()
    succeeded = 0
    seconds: list[float] = []
    latencies: list[float] = []
    errors: dict[str, int] = {}
    for number in range(plan.burst_rounds):
        ground.show(number / (plan.burst_rounds + 1))
        await ground.empty()
        calls = [[ground.ask_bytes(each, each)] for each in range(plan.burst)]
        result = await _together(ground, calls, 202)
        succeeded += len(result.latencies) - result.errors.total()
        seconds.append(result.seconds)
        latencies += result.latencies
        errors |= dict(result.errors.most_common(5))
    await ground.empty()
    recorded = await ground.inside.lifecycle(
        ground.inside_askers[1], ground.inside_owners[0], ground.shapes[0].request
    )
    limit = await ground.pgbench.run(
        await ground.scripts.ask(recorded), clients=POOL_CONNECTIONS, transactions=plan.burst
    )
    figures.details["burst"] = {
        "requests": plan.burst,
        "rounds": plan.burst_rounds,
        "seconds": [round(each, 3) for each in seconds],
        "errors": errors,
        "latency_ms": percentiles_milli(latencies),
    }
    figures.add(
        Figure(
            key="burst_succeeded_share",
            label=f"{plan.burst} requests at the same instant: accepted",
            value=succeeded / (plan.burst * plan.burst_rounds),
            unit="share",
            target="1",
        ),
        Figure(
            key="burst_seconds",
            label=f"{plan.burst} requests at the same instant: until the last answer",
            value=sorted(seconds)[len(seconds) // 2],
            unit="s",
            limit=plan.burst / limit.per_second,
        ),
    )
    await ground.empty()


async def _together(ground: Ground, calls: Sequence[Sequence[bytes]], status: int) -> CallResult:
    starts_at = time.monotonic() + ground.plan.start_seconds
    parts = await asyncio.gather(
        *(
            ground.load(
                load.together,
                ground.server.port,
                calls[part::LOAD_PROCESSES],
                status,
                starts_at,
            )
            for part in range(LOAD_PROCESSES)
        )
    )
    return load.joined(parts, max(part.seconds for part in parts))
