# SPDX-License-Identifier: AGPL-3.0-or-later
"""A playing horde, and the command line in this process."""

import logging
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from client.playing_horde import DONE, GOOD_KEY, PlayingHorde
from typer.testing import CliRunner

from openhorde.cli.main import app

Run = Callable[..., Any]


@pytest.fixture
def playing() -> Iterator[PlayingHorde]:
    """A horde that has every request done at once."""
    with PlayingHorde(checks=[DONE]).running() as horde:
        yield horde


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """A command that sets up logging must not leave the others a handler to its closed stream."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def run(
    playing: PlayingHorde,
    monkeypatch: pytest.MonkeyPatch,
    logging_as_before: None,
    tmp_path: Path,
) -> Run:
    """Run `horde ARGUMENTS` with the playing horde in the environment."""
    monkeypatch.setenv("OPENHORDE_URL", playing.url)
    monkeypatch.setenv("OPENHORDE_API_KEY", GOOD_KEY)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    runner = CliRunner()

    def invoke(*arguments: str) -> Any:
        return runner.invoke(app, arguments)

    return invoke


@contextmanager
def program(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program that a failing test doesn't leave running."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()
