# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m bench`: measure, show a table, write JSON."""

import argparse
import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench import crowd, depth, lifecycle, report
from bench.figures import Figures
from bench.ground import Ground, open_ground
from bench.machine import facts
from bench.plan import FULL, QUICK, Plan

RESULTS = Path(__file__).parent / "results" / "latest.json"
Step = tuple[str, Callable[[Ground, Figures], Awaitable[None]]]


def steps_of(plan: Plan) -> list[Step]:
    """What is measured, in order."""

    def at(waiting: int) -> Step:
        async def measure(ground: Ground, figures: Figures) -> None:
            await depth.measure(ground, figures, waiting)

        return f"pop and check with {waiting:,} waiting", measure

    return [
        ("whole lifecycles", lifecycle.measure),
        (f"{plan.burst} requests at the same instant", crowd.burst),
        (f"{plan.crowd} workers at once", crowd.pop_together),
        *(at(waiting) for waiting in plan.depths),
    ]


async def measure(plan: Plan, seed: int, progress: Progress) -> tuple[Figures, dict[str, object]]:
    """Everything. SIGTERM ends it as Ctrl-C does: nothing is left behind."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    steps = steps_of(plan)
    bar = progress.add_task("", total=len(steps) + 1)
    figures = Figures()
    took: dict[str, float] = {}
    figures.details["seconds"] = took

    def tell(text: str) -> None:
        progress.update(bar, description=text)
        if not progress.console.is_terminal:
            progress.console.print(text)

    done = 1

    def show(share: float) -> None:
        progress.update(bar, completed=done + share)

    async with asyncio.timeout(plan.seconds_max), open_ground(plan, seed, tell, show) as ground:
        machine = facts(await ground.connection.fetchval("show server_version"))
        for number, (text, step) in enumerate(steps, start=1):
            done = number
            tell(text)
            show(0)
            began = time.monotonic()
            await step(ground, figures)
            took[text] = round(time.monotonic() - began, 1)
        progress.update(bar, completed=len(steps) + 1)
        tell("cleaning up")
    depth.compare(figures, plan.depths)
    return figures, machine


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of some seconds")
    parser.add_argument("--seed", type=int, default=1, help="of the requests (default 1)")
    parser.add_argument(
        "--output",
        type=Path,
        help=f"where the JSON goes (default {RESULTS}; nowhere when quick)",
    )
    options = parser.parse_args()
    console = Console()
    began = time.monotonic()
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        refresh_per_second=2,
    ) as progress:
        plan = QUICK if options.quick else FULL
        figures, machine = asyncio.run(measure(plan, options.seed, progress))
    report.show(console, figures, machine)
    path = options.output or (None if options.quick else RESULTS)
    if path is not None:
        value = report.document(
            figures,
            machine,
            seed=options.seed,
            quick=options.quick,
            seconds=time.monotonic() - began,
        )
        report.write(path, value)
        console.print(f"written to {path}")


if __name__ == "__main__":
    main()
