# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `make` says and would do; nothing is installed here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile, and nothing installed in it."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it without the options of a make that runs these tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for name in ("PORT", "MODEL", "TORCH", "DATA", "MFLAGS"):
        kept.pop(name, None)
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=kept, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("port", ["abc", "", "70 01", "-1", "7001;true"])
def test_a_port_that_is_none_is_named_before_anything_is_installed(clone: Path, port: str) -> None:
    done = make(clone, "up", f"PORT={port}")
    assert done.returncode != 0
    assert f"PORT={port} is not a number: give a port, 1 to 65535" in done.stdout
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("choice", ["", "cuda", "rocm6.4"])
def test_torch_is_installed_first_and_in_the_chosen_build(clone: Path, choice: str) -> None:
    planned = make(clone, "-n", "demo", *([f"TORCH={choice}"] if choice else [])).stdout
    first, then = planned.index("install.py --torch"), planned.index("install.py --extras all")
    assert first < then
    assert f'--torch "{choice or "auto"}"' in planned


def test_another_choice_of_torch_alone_is_carried_out(clone: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    for name in ("bin/pip", "torch-is-auto", "installed-to-run"):
        (clone / ".venv" / name).touch()
    assert "install.py" not in make(clone, "-n", "demo").stdout
    planned = make(clone, "-n", "demo", "TORCH=cuda").stdout
    assert '--torch "cuda"' in planned
    assert "--extras" not in planned


def test_up_passes_a_model_on_if_there_is_one(clone: Path) -> None:
    assert '--model "$MODEL"' in make(clone, "-n", "up", "MODEL=smollm2").stdout
    assert "--model" not in make(clone, "-n", "up").stdout
