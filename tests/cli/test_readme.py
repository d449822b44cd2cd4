# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the README and the client's manual tell people to type works."""

import re
import shlex
from pathlib import Path

import pytest
from cli.conftest import Run
from client.playing_horde import PlayingHorde

from openhorde.client import ANONYMOUS_KEY, DEFAULT_URL, Horde, read_facts
from openhorde.client.asynchronous import CLIENT_AGENT

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CLIENT = (ROOT / "docs" / "client.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def test_the_python_example(
    playing: PlayingHorde, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Horde.__init__, "__defaults__", (playing.url, ANONYMOUS_KEY, CLIENT_AGENT))
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(example, {})
    assert read_facts(tmp_path / "lighthouse.png")["prompt"] == "a lighthouse at dusk"


def test_the_examples_of_the_client(
    playing: PlayingHorde, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    examples = "".join(re.findall(r"```python\n(.*?)```", CLIENT, re.DOTALL))
    assert examples.count(DEFAULT_URL) == 1
    exec(examples.replace(DEFAULT_URL, playing.url), {})
    assert len(playing.alchemy.asked) == 5
    assert len(playing.texts.cancelled) == 1


def test_the_horde_commands(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"`horde ([^`]+)`", README)
    assert {command.split()[0] for command in commands} >= {
        "image",
        "caption",
        "interrogate",
        "text",
    }
    for command in commands:
        assert run(*shlex.split(command)).exit_code == 0, command


def test_every_make_command_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    commands = set(re.findall(r"(?:^|`)make ([a-z]+)", README + CONTRIBUTING, re.MULTILINE))
    assert commands >= {"demo", "up", "test"}
    assert commands <= targets


def test_every_link_leads_somewhere() -> None:
    for text in (README, CONTRIBUTING):
        for target in re.findall(r"\]\(([^)]+)\)", text):
            assert (ROOT / target).exists(), target
