# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bench runs from end to end, and its JSON has the shape that the README promises."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a smoke run writes."""
    path = tmp_path_factory.mktemp("bench") / "report.json"
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


def test_every_figure_has_its_limit_and_ratio(report: dict[str, Any]) -> None:
    figures = {figure["key"]: figure for figure in report["figures"]}
    calls = [f"{call}_{depth}" for call in ("pop", "picky_pop", "check") for depth in (200, 1000)]
    expected = {
        "lifecycles_per_second",
        "cpu_ms_per_lifecycle",
        "server_cpu_ms_per_lifecycle",
        "database_cpu_ms_per_lifecycle",
        "burst_seconds",
        "crowd_pops_per_second",
        "crowd_one_lane_pops_per_second",
        *(f"{call}_{percentile}_ms" for call in calls for percentile in ("p50", "p95", "p99")),
        *(f"{call}_growth" for call in ("pop", "picky_pop", "check")),
    }
    assert expected <= figures.keys()
    for key in expected:
        assert figures[key]["value"] >= 0
        # CPU of so short a run may be less than a tick of the clock.
        if not key.endswith("cpu_ms_per_lifecycle"):
            assert figures[key]["limit"] > 0
            assert figures[key]["ratio"] >= 0


def test_nothing_went_wrong(report: dict[str, Any]) -> None:
    figures = {figure["key"]: figure for figure in report["figures"]}
    assert figures["burst_succeeded_share"]["value"] == 1
    assert figures["crowd_heard_nothing_share"]["value"] == 0
    assert figures["crowd_one_lane_heard_nothing_share"]["value"] == 0
    details = report["details"]
    assert details["lifecycle"]["lifecycles"] > 0
    for name in ("lifecycle", "burst", "crowd", "crowd_one_lane"):
        assert details[name]["errors"] == {}
    for depth in (200, 1000):
        for call in ("pop", "picky_pop", "check"):
            assert details[f"depth_{depth}"][call]["errors"] == {}


def test_the_machine_is_named(report: dict[str, Any]) -> None:
    assert report["quick"] is True
    assert report["machine"]["cpu_count"] >= 1
    assert {"date", "python", "postgres", "cpu_model", "openhorde"} <= report["machine"].keys()
