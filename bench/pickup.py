# SPDX-License-Identifier: AGPL-3.0-or-later
"""Idle workers wait on held calls: how long until one has the job that somebody asks for."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from bench import load
from bench.calls import Line, connect
from bench.demand import complete_offer
from bench.figures import Figure, Figures, percentile, percentiles_milli
from bench.ground import Ground
from bench.stage import open_server

WAIT_SECONDS = 30
PAUSE_SECONDS = (0.02, 0.06)
"""Between one job and the next: all workers wait again, and no rhythm forms."""

PICKUP_SECONDS_MAX = 20.0
P50_MILLI_MAX = 20.0
P95_MILLI_MAX = 100.0


@dataclass(frozen=True, slots=True)
class Worker:
    """A prepared pop that waits, and its owner's key."""

    pop: bytes
    owner_key: str


@dataclass(slots=True)
class PickupResult:
    """Seconds from the start of the submit until a worker has the whole job, and until the submit
    itself is answered; calls that ended without a job, and what went wrong."""

    pickups: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    empty: int = 0
    errors: Counter[str] = field(default_factory=Counter)


async def measure(ground: Ground, figures: Figures) -> None:
    """One process does it all; then asker and workers each have a server process of their own."""
    await ground.serve()
    await ground.empty()
    asker, owner = ground.inside_askers[2], ground.inside_owners[0]
    recorded = await ground.inside.lifecycle(asker, owner, ground.shapes[0].request)
    await ground.inside.ask(asker, ground.shapes[0].request)
    claim = await ground.inside.claim_for(owner, complete_offer("inside"))
    await ground.limits_queue.clear()
    limit = await ground.pgbench.run(
        await ground.scripts.handover(recorded, claim),
        clients=1,
        transactions=ground.plan.pickups,
    )
    ground.show(0.2)
    port = ground.server.port
    result = await _handed_over(ground, port, port)
    _add(figures, "pickup", "1 process", result, limit.latencies)
    ground.show(0.6)
    async with open_server(ground.cluster.folder) as other:
        result = await _handed_over(ground, port, other.port)
    _add(figures, "pickup_2_processes", "asker and worker at 2 processes", result, limit.latencies)
    await ground.empty()


async def _handed_over(ground: Ground, ask_port: int, pop_port: int) -> PickupResult:
    plan = ground.plan
    workers = [
        Worker(
            ground.pop_bytes(complete_offer(f"idle {number}") | {"wait": WAIT_SECONDS}, number),
            ground.owners[number % len(ground.owners)],
        )
        for number in range(plan.idle_workers)
    ]
    count = min(plan.warm_up_calls, plan.pickups) + plan.pickups
    asks = [ground.ask_bytes(number, number) for number in range(count)]
    result = await ground.load(hand_over, ask_port, pop_port, asks, workers)
    result.pickups = result.pickups[-plan.pickups :]
    result.answers = result.answers[-plan.pickups :]
    return result


def _add(figures: Figures, key: str, label: str, result: PickupResult, limits: list[float]) -> None:
    figures.details[key] = {
        "latency_ms": percentiles_milli(result.pickups),
        "submit_answered_ms": percentiles_milli(result.answers),
        "limit_latency_ms": percentiles_milli(limits),
        "empty": result.empty,
        "errors": dict(result.errors.most_common(5)),
    }
    for word, share, target in (("p50", 0.5, P50_MILLI_MAX), ("p95", 0.95, P95_MILLI_MAX)):
        figures.add(
            Figure(
                key=f"{key}_{word}_ms",
                label=f"submit to a waiting worker's hands, {label}, {word}",
                value=percentile(result.pickups, share) * 1000,
                unit="ms",
                limit=percentile(limits, share) * 1000,
                limit_is="pgbench, submit and claim",
                target=f"under {target:g}",
                target_value=target,
            )
        )


def hand_over(
    ask_port: int, pop_port: int, asks: Sequence[bytes], workers: Sequence[Worker]
) -> PickupResult:
    """The load: workers wait, one request after the other is submitted."""
    return load.run(_hand_over(ask_port, pop_port, asks, workers))


async def _hand_over(
    ask_port: int, pop_port: int, asks: Sequence[bytes], workers: Sequence[Worker]
) -> PickupResult:
    result = PickupResult()
    handed: asyncio.Queue[float] = asyncio.Queue()
    delivered: asyncio.Queue[None] = asyncio.Queue()
    lines = [await connect(pop_port) for _ in workers]
    tasks = [
        asyncio.create_task(_work(line, worker, handed, delivered, result))
        for line, worker in zip(lines, workers, strict=True)
    ]
    asking = await connect(ask_port)
    random = Random(len(asks))
    for ask in asks:
        await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
        began = time.perf_counter()
        answer = await asking.call(ask)
        result.answers.append(time.perf_counter() - began)
        if answer.status != 202:
            result.errors[f"{answer.status} {answer.body[:200].decode(errors='replace')}"] += 1
            continue
        at = await asyncio.wait_for(handed.get(), PICKUP_SECONDS_MAX)
        result.pickups.append(at - began)
        await asyncio.wait_for(delivered.get(), PICKUP_SECONDS_MAX)
    for task in tasks:
        task.cancel()
    for line in (asking, *lines):
        line.close()
    return result


async def _work(
    line: Line,
    worker: Worker,
    handed: asyncio.Queue[float],
    delivered: asyncio.Queue[None],
    result: PickupResult,
) -> None:
    while True:
        answer = await line.call(worker.pop)
        at = time.perf_counter()
        if answer.status != 200:
            result.errors[f"{answer.status} {answer.body[:200].decode(errors='replace')}"] += 1
            await asyncio.sleep(load.PAUSE_SECONDS)
            continue
        if load.NOTHING in answer.body:
            result.empty += 1
            continue
        handed.put_nowait(at)
        await line.call(load.upload(answer.body))
        await line.call(load.hand_in(load.id_in(answer.body), worker.owner_key))
        delivered.put_nowait(None)
