# SPDX-License-Identifier: AGPL-3.0-or-later
"""The unit that starts a worker with the machine."""

import configparser
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openhorde.cli.main import app
from openhorde.worker.settings import MISCONFIGURED_STATUS

UNIT = Path(__file__).parents[2] / "ops" / "systemd" / "openhorde-worker.service"


@pytest.fixture
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(UNIT)
    return parser


def test_what_it_starts_is_a_command_that_there_is(unit: configparser.ConfigParser) -> None:
    program, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == "horde"
    assert CliRunner().invoke(app, [*arguments, "--help"]).exit_code == 0
    assert CliRunner().invoke(app, [*arguments, "--no-such-option", "--help"]).exit_code == 2


def test_it_drains_before_it_stops(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    assert (service["KillSignal"], service["KillMode"]) == ("SIGTERM", "mixed")
    assert service["TimeoutStopSec"].endswith("min")
    assert service["Restart"] == "on-failure"


def test_it_is_not_started_again_before_a_setting_is_changed(
    unit: configparser.ConfigParser, tmp_path: Path
) -> None:
    assert unit["Service"]["RestartPreventExitStatus"] == str(MISCONFIGURED_STATUS)
    _, *arguments, settings = shlex.split(unit["Service"]["ExecStart"])
    wrong = tmp_path / Path(settings).name
    wrong.write_text("max_threads: 99\n", encoding="utf-8")
    done = CliRunner().invoke(app, [*arguments, str(wrong)])
    assert done.exit_code == MISCONFIGURED_STATUS, done.output


def test_systemd_understands_it(tmp_path: Path) -> None:
    """Where there is a systemd to ask; each line is in the shape that it wants anywhere."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert not line or line[0] in "#[" or "=" in line, line
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    here = tmp_path / UNIT.name
    program = next(line for line in lines if line.startswith("ExecStart=")).split("=")[1].split()[0]
    here.write_text(UNIT.read_text(encoding="utf-8").replace(f"={program} ", f"={sys.executable} "))
    done = subprocess.run(
        [analyze, "verify", str(here)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
