# SPDX-License-Identifier: AGPL-3.0-or-later
import json
import sys
from pathlib import Path

import pytest
from cli.conftest import Run


def test_a_quick_run_shows_tables_and_saves_plots(run: Run, tmp_path: Path) -> None:
    result = run("simulate", "--quick", "--seed", "3", "--out", str(tmp_path / "plots"))
    assert result.exit_code == 0, result.stderr
    for word in ("fair", "ageing", "anonymous", "rich", "Jain's index"):
        assert word in result.stdout
    files = sorted((tmp_path / "plots").iterdir())
    assert [file.name for file in files] == [
        "fairness-jain.png",
        "fairness-load.png",
        "fairness-tiers.png",
        "fairness-waits.png",
    ]
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG")
        assert str(file) in result.stdout


def test_the_same_seed_gives_the_same_figures(run: Run) -> None:
    first, again, other = (
        run("simulate", "--quick", "--policy", "fair", "--json", "--seed", seed).stdout
        for seed in ("5", "5", "6")
    )
    assert first == again != other
    (result,) = json.loads(first)["results"]
    assert result["policy"] == "fair"
    assert result["kudos_total_milli"] == 0
    assert result["jobs_served"] > 0


def test_attempts_are_shown(run: Run) -> None:
    result = run("simulate", "--quick", "--policy", "fair", "--attempts")
    assert "20 jobs, 20 requests" in result.stdout


def test_without_matplotlib_it_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "openhorde.simulation.plots", raising=False)
    monkeypatch.delattr("openhorde.simulation.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    result = run("simulate", "--quick", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "[plots]" in result.stderr
