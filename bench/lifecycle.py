# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many whole lifecycles a second, and what one costs in CPU."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from bench import load
from bench.demand import complete_offer
from bench.figures import Figure, Figures, percentiles_milli, rounded
from bench.ground import LOAD_PROCESSES, Ground
from bench.load import LifecycleResult, Slot, Window
from bench.machine import busy_seconds

ASKS_PER_SLOT = 12
TARGET_PROCESSES = 2
"""With so many processes the project's aims are to be met."""

LIFECYCLES_MIN = 400.0
CPU_MILLI_MAX = 3.0


async def measure(ground: Ground, figures: Figures, processes: int) -> None:
    """Drive a server of so many processes, then let pgbench do the same without one."""
    await ground.serve(processes)
    await ground.empty()
    plan = ground.plan
    starts_at = time.monotonic() + ground.plan.start_seconds
    counts_from = starts_at + plan.warm_up_seconds
    window = Window(starts_at, counts_from, counts_from + plan.lifecycle_seconds)
    slots = [_slot(ground, number) for number in range(plan.slots)]
    running = asyncio.gather(
        *(
            ground.load(load.lifecycles, ground.server.port, slots[part::LOAD_PROCESSES], window)
            for part in range(LOAD_PROCESSES)
        )
    )
    await asyncio.sleep(window.counts_from - time.monotonic())
    before, busy_before = ground.cpu_seconds(), busy_seconds()
    while (left := window.ends_at - time.monotonic()) > 0:
        ground.show(0.5 * (1 - left / plan.lifecycle_seconds))
        await asyncio.sleep(min(left, 0.5))
    after, busy_after = ground.cpu_seconds(), busy_seconds()
    results = await running
    lifecycles = max(1, sum(result.lifecycles for result in results))
    server, database = after[0] - before[0], after[1] - before[1]
    generator = sum(result.cpu_seconds for result in results)
    busy = busy_after - busy_before - server - database - generator
    figures.details[key_of("lifecycle", processes)] = _details(results, lifecycles) | {
        "processes": processes,
        "slots": plan.slots,
        "seconds": plan.lifecycle_seconds,
        "generator_cpu_ms_per_lifecycle": rounded(generator / lifecycles * 1000),
        "cpus_taken_by_others": rounded(max(0.0, busy) / plan.lifecycle_seconds),
    }
    milli = {
        "server": server / lifecycles * 1000,
        "database": database / lifecycles * 1000,
        "generator": generator / lifecycles * 1000,
    }
    await _add_figures(ground, figures, processes, lifecycles / plan.lifecycle_seconds, milli)


def key_of(name: str, processes: int) -> str:
    """The key of a figure of a server with so many processes."""
    return name if processes == 1 else f"{name}_{processes}_processes"


def _slot(ground: Ground, number: int) -> Slot:
    first = number * ASKS_PER_SLOT
    name = f"lifecycle {number}"
    return Slot(
        asks=tuple(ground.ask_bytes(first + each, number) for each in range(ASKS_PER_SLOT)),
        asker_key=ground.askers[number % len(ground.askers)],
        pop=ground.pop_bytes(complete_offer(name), number),
        owner_key=ground.owners[number % len(ground.owners)],
    )


def _details(results: list[LifecycleResult], lifecycles: int) -> dict[str, object]:
    errors: Counter[str] = sum((result.errors for result in results), Counter())
    return {
        "lifecycles": lifecycles,
        "errors": dict(errors.most_common(5)),
        "reconnected_after_seconds": [
            rounded(silence) for result in results for silence in result.reconnected
        ],
        "empty_pops": sum(result.empty_pops for result in results),
        "extra_statuses": sum(result.extra_statuses for result in results),
        "latency_ms_under_load": {
            name: percentiles_milli([s for result in results for s in result.latencies[name]])
            for name in load.CALLS
        },
    }


@dataclass(frozen=True, slots=True)
class _Limit:
    """What pgbench reached with the statements of a lifecycle."""

    per_second: float
    client_milli: float
    database_milli: float


async def _measure_limit(ground: Ground, figures: Figures, processes: int) -> _Limit:
    await ground.calm()
    plan = ground.plan
    asker, owner = ground.inside_askers[0], ground.inside_owners[0]
    recorded = await ground.inside.lifecycle(asker, owner, ground.shapes[0].request)
    # With all lanes known, as they are to the server under load.
    await ground.limits_queue.fill(len(ground.shapes) * 2)
    claim = await ground.inside.claim_for(owner, complete_offer("inside"))
    await ground.limits_queue.clear()
    script = await ground.scripts.lifecycle(recorded, claim)
    before = ground.database_seconds()
    limit = await ground.pgbench.run(script, clients=plan.slots, seconds=plan.lifecycle_seconds)
    database = ground.database_seconds() - before
    done = max(1, await ground.limits_queue.done())
    figures.details[key_of("lifecycle_limit", processes)] = {
        "transactions": limit.transactions,
        "lifecycles": done,
        "latency_ms": percentiles_milli(limit.latencies),
    }
    return _Limit(
        per_second=limit.per_second * min(1.0, done / limit.transactions),
        client_milli=limit.cpu_seconds / done * 1000,
        database_milli=database / done * 1000,
    )


async def _add_figures(
    ground: Ground, figures: Figures, processes: int, per_second: float, milli: dict[str, float]
) -> None:
    limit = await _measure_limit(ground, figures, processes)
    is_aimed_at = processes == TARGET_PROCESSES
    by = "1 process" if processes == 1 else f"{processes} processes"
    figures.add(
        Figure(
            key=key_of("lifecycles_per_second", processes),
            label=f"whole lifecycles, {by}",
            value=per_second,
            unit="1/s",
            limit=limit.per_second,
            target="at least 400 on 2 cores" if is_aimed_at else "",
            target_value=LIFECYCLES_MIN if is_aimed_at else None,
        ),
        Figure(
            key=key_of("cpu_ms_per_lifecycle", processes),
            label=f"CPU of server and database per lifecycle, {by}",
            value=milli["server"] + milli["database"],
            unit="ms",
            limit=limit.client_milli + limit.database_milli,
            limit_is="pgbench and its database",
            target="at most 3 on 2 cores" if is_aimed_at else "",
            target_value=CPU_MILLI_MAX if is_aimed_at else None,
        ),
        Figure(
            key=key_of("server_cpu_ms_per_lifecycle", processes),
            label="  of the server",
            value=milli["server"],
            unit="ms",
            limit=limit.client_milli,
            limit_is="pgbench itself",
        ),
        Figure(
            key=key_of("database_cpu_ms_per_lifecycle", processes),
            label="  of the database",
            value=milli["database"],
            unit="ms",
            limit=limit.database_milli,
        ),
        Figure(
            key=key_of("generator_cpu_ms_per_lifecycle", processes),
            label="  (of the load generator)",
            value=milli["generator"],
            unit="ms",
        ),
    )
    await ground.empty()
