# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m bench`: measure, show a table, write JSON."""

import argparse
import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench import crowd, depth, hot, lifecycle, pickup, report, streams
from bench.figures import Figures
from bench.ground import Ground, open_ground
from bench.machine import facts
from bench.plan import FULL, QUICK, Plan

RESULTS = Path(__file__).parent / "results" / "latest.json"
Measure = Callable[[Ground, Figures], Awaitable[None]]


class Step(NamedTuple):
    """One thing to measure: the part it belongs to, what it is in words, how."""

    part: str
    text: str
    measure: Measure


def steps_of(plan: Plan, dive: depth.Dive) -> list[Step]:
    """What is measured, in order: streams first, as their memory is that of a fresh server."""
    first, *others = (
        Step(
            "lifecycle",
            f"whole lifecycles, server processes: {count}",
            partial(lifecycle.measure, processes=count),
        )
        for count in sorted(plan.processes)
    )
    return [
        Step("streams", f"{plan.streams:,} event streams", streams.measure),
        first,
        Step("burst", f"{plan.burst} requests at the same instant", crowd.burst),
        Step("crowd", f"{plan.crowd} workers at once", crowd.pop_together),
        *(
            Step(
                "depth",
                f"{each.waiting:,} waiting ({'down' if number < len(plan.depths) else 'up'})",
                partial(dive.visit, depth=each),
            )
            for number, each in enumerate(dive.visits())
        ),
        Step("hot", "one user with most of the queue", hot.measure),
        Step("pickup", "idle workers that wait", pickup.measure),
        *others,
    ]


PARTS = tuple(dict.fromkeys(step.part for step in steps_of(FULL, depth.Dive(FULL.depths))))


async def measure(
    plan: Plan, parts: Collection[str], seed: int, progress: Progress
) -> tuple[Figures, dict[str, object]]:
    """The given parts. SIGTERM ends it as Ctrl-C does: nothing is left behind."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    dive = depth.Dive(plan.depths)
    steps = [step for step in steps_of(plan, dive) if step.part in parts]
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
        for number, step in enumerate(steps, start=1):
            done = number
            tell(step.text)
            show(0)
            began = time.monotonic()
            await step.measure(ground, figures)
            took[step.text] = round(time.monotonic() - began, 1)
        progress.update(bar, completed=len(steps) + 1)
        tell("cleaning up")
    if "depth" in parts:
        dive.tell(figures)
    return figures, machine


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(word.strip() for word in text.split(","))
    if unknown := [part for part in parts if part not in PARTS]:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)}: no such part; there are {', '.join(PARTS)}"
        )
    return parts


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of some seconds")
    parser.add_argument(
        "--only",
        type=_parts,
        default=PARTS,
        metavar="PART,...",
        help=f"measure these alone: {', '.join(PARTS)}",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the requests (default 1)")
    parser.add_argument(
        "--output",
        type=Path,
        help=f"where the JSON goes (default {RESULTS}; nowhere when quick or only some parts)",
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
        figures, machine = asyncio.run(measure(plan, options.only, options.seed, progress))
    report.show(console, figures, machine)
    is_whole = not options.quick and set(options.only) == set(PARTS)
    path = options.output or (RESULTS if is_whole else None)
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
