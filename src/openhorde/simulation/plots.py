# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plots of the report. Needs matplotlib, which draws into files and opens no window."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from openhorde.simulation.measures import Result, Served
from openhorde.simulation.population import TIERS

COLOURS: Final = {
    "anonymous": "#555555",
    "flagged": "#D55E00",
    "poor": "#E69F00",
    "middle": "#56B4E9",
    "rich": "#0072B2",
    "fair": "#0072B2",
    "ageing": "#D55E00",
}
"""After Okabe and Ito: told apart by the colour-blind too."""

LINES: Final = {
    "anonymous": (0, (1, 1)),
    "flagged": (0, (5, 1, 1, 1)),
    "poor": (0, (4, 2)),
    "middle": "dashdot",
    "rich": "solid",
}
POINTS_MAX: Final = 500
HATCHES: Final = {"fair": "", "ageing": "//"}
DOTS_PER_INCH: Final = 100


def draw(
    folder: Path, results: Sequence[Result], served: Mapping[str, Sequence[Served]]
) -> list[Path]:
    """Write all plots into an existing folder; `served` are the jobs by policy."""
    figures = {
        "waits": _waits(results, served),
        "tiers": _tiers(results),
        "jain": _jain(results),
        "load": _load(results),
    }
    paths = []
    for name, figure in figures.items():
        path = folder / f"fairness-{name}.png"
        # Without the version of the software in it, the same run gives the same file.
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
        paths.append(path)
    return paths


def _waits(results: Sequence[Result], served: Mapping[str, Sequence[Served]]) -> Figure:
    figure = Figure(figsize=(5 * len(results), 4.2), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for panel, result in zip(panels, results, strict=True):
        for tier in TIERS:
            waits = sorted(job.wait_seconds for job in served[result.policy] if job.tier == tier)
            if not waits:
                continue
            last = len(waits) - 1
            places = [round(last * step / POINTS_MAX) for step in range(POINTS_MAX + 1)]
            panel.plot(
                [max(0.1, waits[place]) for place in places],
                [place / max(1, last) for place in places],
                color=COLOURS[tier],
                linestyle=LINES[tier],
                linewidth=2,
                label=tier,
            )
        panel.set_xscale("log")
        _label(panel, result.policy, "wait in seconds (0.1: at once)", "share of jobs served")
        panel.set_ylim(0, 1.01)
        panel.legend(title="tier", loc="lower right")
    return figure


def _tiers(results: Sequence[Result]) -> Figure:
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, name in zip(panels, ("p50", "p95"), strict=True):
        for number, result in enumerate(results):
            width = 0.8 / len(results)
            places = [place + number * width for place in range(len(result.tiers))]
            bars = panel.bar(
                places,
                [max(0.1, getattr(tier, name)) for tier in result.tiers],
                width=width,
                color=COLOURS[result.policy],
                hatch=HATCHES[result.policy],
                edgecolor="white",
                label=result.policy,
            )
            panel.bar_label(bars, fmt="{:.0f}", fontsize=8)
        panel.set_xticks(
            [place + 0.4 - 0.4 / len(results) for place in range(len(results[0].tiers))],
            [tier.tier for tier in results[0].tiers],
        )
        panel.set_yscale("log")
        panel.set_ylim(1, 10_000)
        panel.yaxis.set_major_formatter("{x:,.0f}")
        _label(panel, f"{name} of the wait", "tier", "seconds")
        panel.legend(title="policy")
    return figure


def _jain(results: Sequence[Result]) -> Figure:
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panel = figure.subplots()
    for result in results:
        panel.plot(
            [each.seconds / 3600 for each in result.fairness],
            [each.index for each in result.fairness],
            color=COLOURS[result.policy],
            linestyle="solid" if result.policy == "fair" else "dashed",
            marker="o" if result.policy == "fair" else "s",
            markersize=4,
            label=f"{result.policy} (mean {result.jain:.2f})",
        )
    panel.set_ylim(0, 1.02)
    _label(
        panel,
        "Jain's index of work served per weight, users who waited for one model all the time",
        "hours",
        "index (1 is fair)",
    )
    panel.legend(title="policy")
    return figure


def _load(results: Sequence[Result]) -> Figure:
    figure = Figure(figsize=(10, 6), layout="constrained")
    depth, use = figure.subplots(2, 1, sharex=True)
    for result in results:
        hours = [sample.seconds / 3600 for sample in result.samples]
        style = "solid" if result.policy == "fair" else "dashed"
        colour = COLOURS[result.policy]
        waiting = [sample.waiting for sample in result.samples]
        share = [100 * sample.busy / max(1, sample.online) for sample in result.samples]
        depth.plot(hours, waiting, color=colour, linestyle=style, label=result.policy)
        use.plot(hours, share, color=colour, linestyle=style, label=result.policy)
    _label(depth, "queue depth", "", "jobs waiting")
    _label(use, "utilisation", "hours", "workers busy, % of those online")
    use.set_ylim(0, 105)
    depth.set_ylim(0)
    depth.legend(title="policy")
    use.legend(title="policy", loc="lower right")
    return figure


def _label(panel: Axes, title: str, across: str, up: str) -> None:
    panel.set_title(title, fontsize=11)
    panel.set_xlabel(across)
    panel.set_ylabel(up)
    panel.grid(visible=True, alpha=0.3)
