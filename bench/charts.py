# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m bench.charts`: pictures and the table of docs/benchmarks.md from a result's JSON."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from bench.report import number_shown

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "latest.json"
DOCS = ROOT / "docs"
BEGIN = "<!-- made by python -m bench.charts: begin -->"
END = "<!-- made by python -m bench.charts: end -->"

SORTS = (
    ("pop", "easy worker"),
    ("models_200_pop", "200 models"),
    ("models_20_pop", "20 models"),
    ("models_1_pop", "1 model"),
    ("picky_pop", "picky worker"),
)
_PGBENCH = "0.75"
_LOG_TOP = 500
_HEADROOM = 1.35
"""Room for the legend above the highest bar or line."""


class Result:
    """A result's figures by key."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.machine: dict[str, Any] = document["machine"]
        self.details: dict[str, Any] = document["details"]
        self.figures: list[dict[str, Any]] = document["figures"]
        self._by_key = {figure["key"]: figure for figure in self.figures}

    def has(self, key: str) -> bool:
        """Was this measured?"""
        return key in self._by_key

    def value(self, key: str) -> float:
        """What was measured."""
        return float(self._by_key[key]["value"])

    def limit(self, key: str) -> float:
        """What pgbench reached, 0 where there is no such thing."""
        return float(self._by_key[key]["limit"] or 0)

    def target(self, key: str) -> float | None:
        """What the project aims at."""
        found = self._by_key[key]["target_value"]
        return None if found is None else float(found)

    @property
    def depths(self) -> list[int]:
        """How much waited, from shallow to deep."""
        return sorted(value["depth"] for key, value in self.details.items() if "depth_" in key)

    @property
    def processes(self) -> list[int]:
        """With how many processes lifecycles were measured."""
        return sorted(value["processes"] for value in self.details.values() if "processes" in value)


def depth(result: Result, canvas: Canvas) -> None:
    """Times of a pop over the depth of the queue, by sort of worker; pgbench beside it."""
    panels = canvas.subplots(1, 2, sharey=True)
    for axes, read, title in (
        (panels[0], result.value, "through HTTP"),
        (panels[1], result.limit, "pgbench, the same statement"),
    ):
        for key, label in SORTS:
            times = [read(f"{key}_{waiting}_p99_ms") for waiting in result.depths]
            (line,) = axes.plot(result.depths, times, marker="o", label=f"{label}, p99")
            middles = [read(f"{key}_{waiting}_p50_ms") for waiting in result.depths]
            axes.plot(result.depths, middles, marker=".", linestyle=":", color=line.get_color())
        axes.set_xscale("log")
        axes.set_xticks(result.depths, [f"{waiting:,}" for waiting in result.depths])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_title(title)
        axes.set_xlabel("requests waiting")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("one pop, ms (solid p99, dotted p50)")
    panels[0].legend(fontsize=8)


def growth(result: Result, canvas: Canvas) -> None:
    """How much longer the slowest pops take in the deepest queue than in the shallowest."""
    axes = canvas.subplots()
    keys = [f"{key}_growth" for key, _ in SORTS]
    _pairs(
        axes,
        [label for _, label in SORTS],
        [result.value(key) for key in keys],
        [result.limit(key) for key in keys],
    )
    _aim(axes, result.target(keys[0]), "aim: at most {:g}")
    axes.set_ylabel(f"p99 at {result.depths[-1]:,} waiting / p99 at {result.depths[0]:,}")
    axes.legend(fontsize=8)


def lifecycles(result: Result, canvas: Canvas) -> None:
    """Lifecycles a second and what one costs, by the number of server processes."""
    rate, cost = canvas.subplots(1, 2)
    names = [f"{count}" for count in result.processes]

    def key(name: str, count: int) -> str:
        return name if count == 1 else f"{name}_{count}_processes"

    keys = [key("lifecycles_per_second", count) for count in result.processes]
    _pairs(rate, names, [result.value(k) for k in keys], [result.limit(k) for k in keys])
    aims = [aim for k in keys if (aim := result.target(k)) is not None]
    _aim(rate, aims[0] if aims else None, "aim: at least {:g} with 2")
    rate.set_ylabel("whole lifecycles per second")
    bottom = [0.0] * len(names)
    for part, colour in (("server", "tab:blue"), ("database", "tab:orange")):
        values = [
            result.value(key(f"{part}_cpu_ms_per_lifecycle", count)) for count in result.processes
        ]
        cost.bar(names, values, 0.5, bottom=bottom, label=part, color=colour)
        bottom = [low + value for low, value in zip(bottom, values, strict=True)]
    keys = [key("cpu_ms_per_lifecycle", count) for count in result.processes]
    cost.plot(names, [result.limit(k) for k in keys], "kD", markersize=5, label="pgbench, all")
    aims = [aim for k in keys if (aim := result.target(k)) is not None]
    _aim(cost, aims[0] if aims else None, "aim: at most {:g} with 2")
    cost.set_ylabel("CPU per lifecycle, ms")
    for axes in (rate, cost):
        axes.set_xlabel("server processes")
        axes.legend(fontsize=8)


def pickup(result: Result, canvas: Canvas) -> None:
    """From submit to the hands of a worker that waits."""
    axes = canvas.subplots()
    sorts = (
        ("pickup", "1 process"),
        ("pickup_2_processes", "asker and worker\nat 2 processes"),
    )
    keys = [f"{key}_{word}_ms" for key, _ in sorts for word in ("p50", "p95")]
    names = [f"{word}, {label}" for _, label in sorts for word in ("p50", "p95")]
    _pairs(axes, names, [result.value(key) for key in keys], [result.limit(key) for key in keys])
    _aim(axes, result.target("pickup_p50_ms"), "aim for p50: under {:g} ms")
    _aim(axes, result.target("pickup_p95_ms"), "aim for p95: under {:g} ms", linestyle=":")
    axes.set_yscale("log")
    axes.set_ylim(1, _LOG_TOP)
    axes.set_ylabel("submit until the worker has the job, ms")
    axes.legend(fontsize=8)


def streams(result: Result, canvas: Canvas) -> None:
    """Event streams: memory, and how late events are."""
    memory, lag = canvas.subplots(1, 2, width_ratios=(1, 2.5))
    count = result.details["streams"]["streams"]
    memory.bar([f"{count:,} streams"], [result.value("streams_memory_megabytes")], 0.4)
    _aim(memory, result.target("streams_memory_megabytes"), "aim: under {:g} MB")
    memory.set_ylabel("memory of the server above idle, MB")
    words = ("p50", "p99", "max")
    keys = [f"streams_{name}_{word}_ms" for name in ("started", "done") for word in words]
    names = [f"{name}\n{word}" for name in ("started", "done") for word in words]
    lag.bar(names, [result.value(key) for key in keys], 0.5)
    _aim(lag, result.target("streams_done_max_ms"), "aim: at most {:g} ms")
    lag.set_yscale("log")
    lag.set_ylim(1, 10 * _LOG_TOP)
    lag.set_ylabel("from the worker's call to the event, ms")
    for axes in (memory, lag):
        axes.legend(fontsize=8)


def hot(result: Result, canvas: Canvas) -> None:
    """One user has most of the queue."""
    axes = canvas.subplots()
    sorts = (
        ("hot_pop", "pop"),
        ("hot_ask", "this user's\nsubmit"),
        ("other_ask", "another's\nsubmit"),
    )
    keys = [f"{key}_{word}_ms" for key, _ in sorts for word in ("p50", "p99")]
    names = [f"{label}\n{word}" for _, label in sorts for word in ("p50", "p99")]
    _pairs(axes, names, [result.value(key) for key in keys], [result.limit(key) for key in keys])
    axes.set_ylabel("ms")
    axes.legend(fontsize=8)


CHARTS: tuple[tuple[str, str, Callable[[Result, Canvas], None], str], ...] = (
    ("depth", "Time of a pop over the depth of the queue", depth, "picky_pop_growth"),
    ("growth", "The deepest queue against the shallowest", growth, "picky_pop_growth"),
    ("lifecycles", "Whole lifecycles", lifecycles, "lifecycles_per_second_2_processes"),
    ("pickup", "Submit to a waiting worker's hands", pickup, "pickup_p50_ms"),
    ("streams", "Open event streams", streams, "streams_memory_megabytes"),
    ("hot", "One user has most of the queue", hot, "hot_pop_p99_ms"),
)
"""Name, title, how it is drawn, and a figure without which it can't be."""


def _pairs(
    axes: Axes, names: Sequence[str], values: Sequence[float], limits: Sequence[float]
) -> None:
    """Bars of the horde, and of pgbench beside them."""
    places = range(len(names))
    axes.bar([place - 0.2 for place in places], values, 0.4, label="openhorde, through HTTP")
    axes.bar(
        [place + 0.2 for place in places],
        limits,
        0.4,
        color=_PGBENCH,
        label="pgbench, same statements",
    )
    axes.set_xticks(list(places), names, fontsize=8)


def _aim(axes: Axes, value: float | None, label: str, linestyle: str = "--") -> None:
    """A line at what is aimed at, if something is; and room for the legend."""
    if value is not None:
        axes.axhline(
            value, label=label.format(value), color="firebrick", linestyle=linestyle, linewidth=1.2
        )
    axes.set_ylim(top=_HEADROOM * max(axes.dataLim.ymax, value or 0))


def draw(result: Result, folder: Path) -> list[Path]:
    """Draw what was measured; the files."""
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, title, chart, needed in CHARTS:
        if not result.has(needed):
            continue
        canvas = Canvas(figsize=(9, 4.2), layout="constrained")
        canvas.suptitle(title)
        chart(result, canvas)
        path = folder / f"bench-{name}.png"
        # No date and no version inside: the same figures make the same file.
        canvas.savefig(path, dpi=110, metadata={"Software": None})
        drawn.append(path)
    return drawn


def table(result: Result) -> str:
    """The machine and all figures, as Markdown."""
    machine = result.machine
    lines = [
        f"{machine['cpu_count']} × {machine['cpu_model']}, {machine['memory_gib']} GiB,"
        f" {machine['system']}, Python {machine['python']}, PostgreSQL {machine['postgres']},"
        f" {machine['date']}.",
        "",
        "| what | measured | pgbench | ratio | aim |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for figure in result.figures:
        value, limit, ratio = (number_shown(figure[name]) for name in ("value", "limit", "ratio"))
        lines.append(
            f"| {figure['label'].strip()} | {value} {figure['unit']} | {limit} | {ratio}"
            f" | {figure['target'] or ''} |"
        )
    return "\n".join(lines)


def put(page: Path, text: str) -> None:
    """Put a text between the two marks of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} lacks the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.charts", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help=f"default {RESULTS}")
    parser.add_argument(
        "--docs", type=Path, default=DOCS, help=f"folder of benchmarks.md (default {DOCS})"
    )
    options = parser.parse_args()
    result = Result(json.loads(options.results.read_text(encoding="utf-8")))
    for path in draw(result, options.docs / "images"):
        print(f"{path}: {path.stat().st_size // 1000} kB")
    put(options.docs / "benchmarks.md", table(result))


if __name__ == "__main__":
    main()
