# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `pip install` of a folder or of a wheel brings."""

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = {".md", ".py", ".html", ".service", ".conf"}
BUILD = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-c", BUILD, folder], cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("openhorde-*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    source = ROOT / "src"
    files = {
        str(file.relative_to(source))
        for file in (source / "openhorde").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {Path(file).suffix for file in files} >= {
        ".py",
        ".sql",
        ".html",
        ".safetensors",
        ".json",
    }
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
        [licence] = [name for name in packed.namelist() if name.endswith("LICENSE")]
        assert b"AFFERO" in packed.read(licence)
    assert names == files


def test_an_empty_environment_takes_it(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path, with_pip=True)
    python = tmp_path / "bin" / "python"
    pip = [
        str(python),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--no-index",
        "--no-deps",
    ]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    asked = "import openhorde; print(openhorde.__file__)"
    told = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout
    assert str(tmp_path) in told
    assert (tmp_path / "bin" / "horde").is_file()


def test_nobody_is_told_to_install_it_from_an_index_that_does_not_have_it() -> None:
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for folder in ("docs", "ops", "src"):
        texts += [file for file in (ROOT / folder).rglob("*") if file.suffix in TEXTS]
    told = re.compile(r"(pip|pipx|uv)\b.* install\b.*[ '\"]openhorde(\[|'|\"|`|\s|$)", re.MULTILINE)
    assert len(texts) > 100
    assert [file for file in texts if told.search(file.read_text(encoding="utf-8"))] == []
    assert told.search("pip install 'openhorde[worker]'")
    assert told.search("/opt/openhorde/bin/pip install openhorde")
