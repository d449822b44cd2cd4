# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report: a table for people, JSON for programs."""

from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.figures import Figures, rounded

VERSION = 1


def document(
    figures: Figures, machine: dict[str, Any], *, seed: int, quick: bool, seconds: float
) -> dict[str, Any]:
    """Everything as one JSON value."""
    return {
        "version": VERSION,
        "quick": quick,
        "seed": seed,
        "seconds": round(seconds),
        "machine": machine,
        "figures": [figure.shown() for figure in figures.figures],
        "details": figures.details,
    }


def write(path: Path, value: dict[str, Any]) -> None:
    """Write JSON that reads well in a diff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def show(console: Console, figures: Figures, machine: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title="openhorde bench", caption=_caption(figures, machine))
    table.add_column("what")
    for name in ("value", "limit", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    for figure in figures.figures:
        aim = f" [dim](aim: {figure.target})[/]" if figure.target else ""
        table.add_row(
            figure.label + aim,
            f"{number_shown(figure.value)} {figure.unit}",
            number_shown(figure.limit),
            number_shown(figure.ratio),
        )
    console.print(table)


def _caption(figures: Figures, machine: dict[str, Any]) -> str:
    said = (
        f"{machine['cpu_count']} × {machine['cpu_model']}, Python {machine['python']},"
        f" PostgreSQL {machine['postgres']}, {machine['date']}"
    )
    if lifecycle := figures.details.get("lifecycle"):
        others = lifecycle["cpus_taken_by_others"]
        said += f"; other programs took {others} CPUs while lifecycles were counted"
    return said


def number_shown(value: float | None) -> str:
    """A number as people read it; a dash for none."""
    short = rounded(value)
    if short is None:
        return "–"
    return f"{short:,.0f}" if abs(short) >= 1000 else f"{short:g}"
