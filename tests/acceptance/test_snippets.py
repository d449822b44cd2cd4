# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the README and the client's manual tell people to type works on a real `horde up`."""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Running, data_folder, environment, run_horde

from openhorde.cli.private_horde import free_port
from openhorde.client import DEFAULT_URL, Horde, Impossible, read_facts

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CLIENT = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
SECONDS_MAX = 300
STAYING = {"up", "demo", "serve", "worker"}
"""Commands that run a horde rather than ask one."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One `horde up` for all of them."""
    with data_folder() as data:
        port = free_port()
        horde = Running(data / "up.log", "up", "--data", str(data / "horde"), "--port", str(port))
        with horde:
            horde.wait_for_word("Ctrl-C stops everything.")
            yield f"http://127.0.0.1:{port}"
            assert horde.stop(signal.SIGINT) == 0


def run_python(code: str, folder: Path) -> str:
    """What a script prints that is run in a folder, as a reader of the manual would."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def snippets(text: str) -> str:
    """All Python of a page, one after the other."""
    return "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


def test_the_python_example_of_the_readme(url: str, tmp_path: Path) -> None:
    example = snippets(README)
    assert example.count("Horde(") == 1
    said = run_python(example.replace("Horde(", f"Horde({url!r}, "), tmp_path)
    assert read_facts(tmp_path / "lighthouse.png")["prompt"] == "a lighthouse at dusk"
    assert all(said.splitlines()[:2])


def test_the_examples_of_the_client(url: str, tmp_path: Path) -> None:
    examples = snippets(CLIENT)
    assert examples.count(DEFAULT_URL) == 1
    said = run_python(examples.replace(DEFAULT_URL, url), tmp_path)
    assert "RealESRGAN_x4plus" in said or "Served now:" in said


def test_the_horde_commands_of_the_readme(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(command) for command in re.findall(r"`horde ([^`]+)`", README)]
    commands = [command for command in commands if command[0] not in STAYING]
    assert {command[0] for command in commands} >= {"image", "caption", "interrogate", "text"}
    for command in commands:
        run_horde(*command, url=url)


def test_what_nobody_serves_is_said_at_once(url: str) -> None:
    with Horde(url) as horde, pytest.raises(Impossible, match="openhorde_shapes"):
        horde.image("a fox", models=["AlbedoBase XL (SDXL)"])
