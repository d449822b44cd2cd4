# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde simulate`: a horde in accelerated time, to compare the orders of the queue."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from openhorde.cli.extras import needs
from openhorde.cli.options import AsJson
from openhorde.cli.screen import messages, output, print_json

if TYPE_CHECKING:
    from openhorde.simulation.experiments import Attempt
    from openhorde.simulation.measures import Result


class Policies(StrEnum):
    """Which orders of the queue to simulate."""

    fair = "fair"
    ageing = "ageing"
    both = "both"


def simulate(
    seed: Annotated[int, typer.Option(help="The same seed gives the same horde.")] = 1,
    users: Annotated[int, typer.Option(min=10, help="People besides the anonymous.")] = 2000,
    workers: Annotated[int, typer.Option(min=1, help="Workers, two thirds online.")] = 150,
    hours: Annotated[float, typer.Option(min=0.1, help="Simulated hours.")] = 12.0,
    policy: Annotated[Policies, typer.Option(help="Order of the queue.")] = Policies.both,
    load: Annotated[
        float, typer.Option(min=0.01, help="Work asked for, as a share of what workers can do.")
    ] = 0.85,
    out: Annotated[
        Path | None, typer.Option(help="Folder to save plots in.", show_default="no plots")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small horde for half an hour.")] = False,
    attempts: Annotated[
        bool, typer.Option("--attempts", help="Also try to get more than a fair share.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Simulate a busy horde in accelerated time and compare how long people wait.

    It uses the rules of the server (needs, matching, rank, prices, ledger), and no database.
    """
    with needs("server"):
        from openhorde.simulation.engine import Plan, Simulation, World
        from openhorde.simulation.experiments import attempts as try_all
        from openhorde.simulation.experiments import small
    if out is not None:
        with needs("plots"):
            from openhorde.simulation import plots
        out.mkdir(parents=True, exist_ok=True)
    plan = Plan(seed=seed, users=users, workers=workers, hours=hours, load=load)
    if quick:
        plan = Plan(seed=seed, users=100, workers=15, hours=0.5, load=load)
    results, served, tried = [], {}, []
    world = World(plan)
    with _progress() as progress:
        for name in ["fair", "ageing"] if policy is Policies.both else [policy.value]:
            task = progress.add_task(name, total=1.0)
            simulation = Simulation(world, name, on_progress=partial(_show, progress, task))
            results.append(simulation.run())
            served[name] = simulation.served
            progress.update(task, completed=1.0)
            if attempts:
                task = progress.add_task(f"{name}: attempts", total=1.0)
                tried += try_all(small(plan), name, partial(_show, progress, task))
    files = plots.draw(out, results, served) if out is not None else []
    if as_json:
        print_json({"plan": plan, "results": results, "attempts": tried})
        return
    _report(results, tried)
    for file in files:
        output().print(f"saved {file}", markup=False, soft_wrap=True)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=messages(), transient=True)


def _show(progress: Progress, task: TaskID, share: float) -> None:
    progress.update(task, completed=share)


def _report(results: "list[Result]", tried: "list[Attempt]") -> None:
    console = output()
    for result in results:
        console.print(_tier_table(result))
        console.print(
            f"{result.jobs_asked:,} jobs asked for, {result.jobs_served:,} served"
            f" ({result.jobs_per_second:.2f} a second), {result.jobs_starved:,} starved,"
            f" {result.jobs_impossible:,} that no worker online could serve,"
            f" {result.jobs_turned_away:,} turned away at the limit,"
            f" {result.jobs_waiting_at_end:,} waiting at the end;"
            f" utilisation {result.utilisation:.0%}, Jain's index {result.jain:.3f}",
        )
    if tried:
        console.print(_attempt_table(tried))


def _tier_table(result: "Result") -> Table:
    table = Table(
        title=f"{result.policy}: waits in seconds of the jobs served", title_justify="left"
    )
    table.add_column("tier")
    for name in ("served", "starved", "refused", "p50", "p95", "p99", "longest", "slowdown"):
        table.add_column(name, justify="right")
    for tier in result.tiers:
        waits = (tier.p50, tier.p95, tier.p99, tier.longest, tier.slowdown)
        counts = (tier.served, tier.starved, tier.turned_away)
        table.add_row(
            tier.tier,
            *(f"{n:,}" for n in counts),
            *(f"{x:,.0f}" for x in waits[:-1]),
            f"{waits[-1]:.1f}",
        )
    return table


def _attempt_table(tried: "list[Attempt]") -> Table:
    table = Table(title="attempts to get more (waits in seconds)")
    for name in ("policy", "attempt"):
        table.add_column(name)
    for name in ("served", "each", "mean", "others p50", "others p95"):
        table.add_column(name, justify="right")
    for attempt in tried:
        table.add_row(
            attempt.policy,
            attempt.name,
            f"{attempt.served:,}",
            f"{attempt.served_per_account:,.1f}",
            f"{attempt.mean_wait:,.1f}",
            f"{attempt.others_p50:,.1f}",
            f"{attempt.others_p95:,.1f}",
        )
    return table
