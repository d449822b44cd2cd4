# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bench runs from end to end, and its JSON has the shape that the README promises."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


PARTS_OF_CPU = ("", "server_", "database_")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a smoke run writes."""
    return tmp_path_factory.mktemp("bench") / "report.json"


@pytest.fixture(scope="module")
def report(path: Path) -> dict[str, Any]:
    """What a smoke run writes."""
    finished = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--output", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "whole lifecycles" in finished.stdout
    written: dict[str, Any] = json.loads(path.read_text())
    return written


SORTS = ("pop", "picky_pop", "models_1_pop", "models_20_pop", "models_200_pop")
PICKUPS = ("pickup", "pickup_2_processes")


def test_every_figure_has_its_limit_and_ratio(report: dict[str, Any]) -> None:
    figures = {figure["key"]: figure for figure in report["figures"]}
    calls = [f"{call}_{depth}" for call in (*SORTS, "check") for depth in (200, 1000)]
    calls += ["hot_pop", "hot_ask", "other_ask"]
    expected = {
        "lifecycles_per_second_2_processes",
        *(f"{part}cpu_ms_per_lifecycle_2_processes" for part in PARTS_OF_CPU),
        "burst_seconds",
        "crowd_pops_per_second",
        "crowd_one_lane_pops_per_second",
        *(f"{call}_{percentile}_ms" for call in calls for percentile in ("p50", "p99")),
        *(f"{call}_growth" for call in (*SORTS, "check")),
        *(f"{pickup}_{percentile}_ms" for pickup in PICKUPS for percentile in ("p50", "p95")),
    }
    assert expected <= figures.keys()
    for key in expected:
        assert figures[key]["value"] >= 0
        # CPU of so short a run may be less than a tick of the clock.
        if "cpu_ms_per_lifecycle" not in key:
            assert figures[key]["limit"] > 0
            assert figures[key]["ratio"] >= 0


def test_figures_that_pgbench_has_no_word_for_are_there(report: dict[str, Any]) -> None:
    figures = {figure["key"]: figure["value"] for figure in report["figures"]}
    assert figures["newcomer_pops"] >= 0
    assert "streams_memory_megabytes" in figures
    for event in ("started", "done"):
        assert figures[f"streams_{event}_p50_ms"] <= figures[f"streams_{event}_max_ms"]


def test_nothing_went_wrong(report: dict[str, Any]) -> None:
    figures = {figure["key"]: figure for figure in report["figures"]}
    assert figures["burst_succeeded_share"]["value"] == 1
    assert figures["crowd_heard_nothing_share"]["value"] == 0
    assert figures["crowd_one_lane_heard_nothing_share"]["value"] == 0
    details = report["details"]
    assert details["lifecycle_2_processes"]["lifecycles"] > 0
    assert all(details[pickup]["latency_ms"]["count"] > 0 for pickup in PICKUPS)
    names = ("burst", "crowd", "crowd_one_lane", "hot", "hot_ask", "other_ask", "streams")
    for name in (*names, "lifecycle_2_processes", *PICKUPS):
        assert details[name]["errors"] == {}
    for depth in (200, 1000):
        for call in (*SORTS, "check"):
            assert details[f"depth_{depth}"][call]["errors"] == {}
        for sort in SORTS:
            assert details[f"depth_{depth}"][sort]["empty"] == 0
            assert 0 < details[f"depth_{depth}"][sort]["fitting_share"] <= 1


def test_the_charts_and_the_table_are_made_from_it(
    report: dict[str, Any], tmp_path: Path, path: Path
) -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    (tmp_path / "benchmarks.md").write_text(page, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "bench.charts", "--results", str(path), "--docs", str(tmp_path)],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    drawn = {chart.name: chart for chart in (tmp_path / "images").iterdir()}
    # Every picture that the page shows is drawn.
    assert set(re.findall(r"images/(bench-[a-z]+\.png)", page)) == drawn.keys()
    assert all(0 < chart.stat().st_size < 150_000 for chart in drawn.values())
    filled = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert all(f"| {figure['label'].strip()} |" in filled for figure in report["figures"])


def test_the_machine_is_named(report: dict[str, Any]) -> None:
    assert report["quick"] is True
    assert report["machine"]["cpu_count"] >= 1
    assert {"date", "python", "postgres", "cpu_model", "openhorde"} <= report["machine"].keys()
