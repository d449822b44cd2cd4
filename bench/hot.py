# SPDX-License-Identifier: AGPL-3.0-or-later
"""One user has most of the queue: what that costs workers, the user and everybody else."""

from collections.abc import Sequence

from bench import depth, load
from bench.calls import connect
from bench.demand import Shape, easy_offer
from bench.figures import Figure, Figures, percentiles_milli
from bench.ground import ASKERS, HOT_ASKER, Ground
from bench.recording import open_inside

HOT_SHARE = 0.9
OTHER_ASKERS = range(1, ASKERS)
"""They take turns, so that none of them has too many jobs waiting."""

POPS_MAX = 5_000


async def measure(ground: Ground, figures: Figures) -> None:
    """Fill both queues, pop, submit as the hot user and as another, and see who is served."""
    await ground.serve()
    plan = ground.plan
    hot_user = await ground.connection.fetchval(
        "select id from users where username = $1", f"Asker {HOT_ASKER}"
    )
    await ground.vary(
        plan.hot.waiting,
        plan.hot.lanes,
        hot=(hot_user, round(plan.hot.waiting * HOT_SHARE)),
    )
    # A server that has served others before would place a newcomer where those were.
    await ground.serve_anew()
    ground.show(0.4)
    name = "hot worker"
    claim = await ground.inside.claim_for(ground.inside_owners[0], easy_offer(f"{name} inside"))
    seconds, empty, errors = await depth.pops(ground, easy_offer(name), plan.pops, depth.BATCH_MAX)
    limits = await depth.claims(ground, claim, plan.limit_pops)
    figures.details["hot"] = {
        "depth": plan.hot.waiting,
        "share": HOT_SHARE,
        "empty": empty,
        "errors": dict(errors.most_common(5)),
        "latency_ms": percentiles_milli(seconds),
        "limit_latency_ms": percentiles_milli(limits),
    }
    label = f"{HOT_SHARE:.0%} of {plan.hot.waiting:,} waiting are one user's"
    depth.add_times(figures, "hot_pop", f"{label}: pop", seconds, limits)
    ground.show(0.6)
    await _newcomer(ground, figures, label)
    for key, who, askers in (
        ("hot_ask", "this user's submit", (HOT_ASKER,)),
        ("other_ask", "another's submit", OTHER_ASKERS),
    ):
        await _asks(ground, figures, key, f"{label}: {who}", askers)
        ground.show(0.8)
    await ground.empty()


async def _newcomer(ground: Ground, figures: Figures, label: str) -> None:
    """Somebody who had nothing in the queue asks: how many jobs are popped before theirs?"""
    line = await connect(ground.server.port)
    asked = await line.call(ground.ask_bytes(0, OTHER_ASKERS[0]))
    if asked.status != 202:
        raise RuntimeError(f"the newcomer was refused: {asked.body.decode()}")
    job_id = await ground.connection.fetchval(
        "select id::text from jobs where request_id = $1::text::uuid",
        load.id_in(asked.body).decode(),
    )
    pop = ground.pop_bytes(easy_offer("hot worker"))
    pops = 0
    while job_id.encode() not in (await line.call(pop)).body:
        pops += 1
        if pops > POPS_MAX:
            raise RuntimeError(f"the newcomer was not served within {POPS_MAX} pops")
    line.close()
    figures.add(
        Figure(
            key="newcomer_pops",
            label=f"{label}: jobs served before a newcomer's",
            value=pops,
            unit="jobs",
        )
    )


async def _asks(
    ground: Ground, figures: Figures, key: str, label: str, askers: Sequence[int]
) -> None:
    plan = ground.plan
    # The heaviest: it must be covered in advance, so that the payer's kudos are counted too.
    shape = max(range(len(ground.shapes)), key=lambda number: _pixels(ground.shapes[number]))
    calls = [
        ground.ask_bytes(shape, askers[number % len(askers)])
        for number in range(plan.warm_up_calls + plan.hot_asks)
    ]
    await ground.load(load.sequence, ground.server.port, calls[: plan.warm_up_calls], 202)
    calls = calls[plan.warm_up_calls :]
    result = await ground.load(load.sequence, ground.server.port, calls, 202)
    # The horde that is open already remembers a queue that was not so deep.
    async with open_inside(ground.cluster.folder, ground.cluster.limits_dsn) as inside:
        recorded = await inside.asking(
            ground.inside_askers[askers[0]], ground.shapes[shape].request
        )
    script = await ground.scripts.ask(recorded)
    limit = await ground.pgbench.run(script, clients=1, transactions=plan.hot_asks)
    figures.details[key] = {
        "errors": dict(result.errors.most_common(5)),
        "latency_ms": percentiles_milli(result.latencies),
        "limit_latency_ms": percentiles_milli(limit.latencies),
    }
    depth.add_times(figures, key, label, result.latencies, limit.latencies)


def _pixels(shape: Shape) -> int:
    params = shape.request["params"]
    return int(params["width"] * params["height"])
