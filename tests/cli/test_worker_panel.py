# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde worker panel` where it cannot be had as it was asked for."""

import sys
from pathlib import Path

import pytest
from cli.conftest import Run


def test_without_the_extra_it_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.startswith("openhorde.worker.panel")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)
    done = run("worker", "panel", "--config", str(tmp_path / "worker.yaml"))
    assert done.exit_code == 1
    assert "gradio is not installed" in done.stderr
    assert "pip install '.[panel]'" in done.stderr


def test_a_public_address_is_refused_without_a_password(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("backends: [fake]\npanel_host: 0.0.0.0\npanel_port: 0\n")
    done = run("worker", "panel", "--config", str(file))
    assert done.exit_code == 1
    assert "choose a password first" in done.stderr


def test_a_setting_out_of_bounds_is_named(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("max_power: 9999\n")
    done = run("worker", "panel", "--config", str(file))
    assert done.exit_code == 1
    assert "max_power: 9999 is not allowed" in done.stderr
