# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde serve`, `horde user` and `horde db`, with the real database."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest
from cli.conftest import Run, program
from client.playing_horde import PlayingHorde

from openhorde.cli.private_horde import free_port
from openhorde.client import Horde


@pytest.fixture
def data() -> Iterator[str]:
    """A folder that the database's own user can reach, which pytest's folders may not be."""
    folder = tempfile.mkdtemp(prefix="openhorde-tests-")
    yield folder
    shutil.rmtree(folder)


def test_every_setting_of_the_server_is_listed(run: Run) -> None:
    listed = run("serve", "--settings").stdout
    assert "OPENHORDE_DATABASE_URL" in listed
    assert "folder for the embedded database" in listed


def test_a_wrong_setting_is_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENHORDE_DUTY_SECONDS", "often")
    result = run("serve")
    assert result.exit_code == 1
    assert "OPENHORDE_DUTY_SECONDS" in result.stderr


def test_a_taken_port_is_a_sentence(run: Run, playing: PlayingHorde, data: str) -> None:
    result = run("serve", "--port", str(playing.port), "--data", data)
    assert result.exit_code == 1
    assert "in use" in result.stderr


def test_upgrading_the_database(run: Run, data: str) -> None:
    assert "applied" in run("db", "upgrade", "--data", data).stdout
    assert "up to date" in run("db", "upgrade", "--phase", "after", "--data", data).stdout


def test_serving_until_a_signal_with_accounts_made_meanwhile(run: Run, data: str) -> None:
    port = free_port()
    command = [sys.executable, "-m", "openhorde.cli.main", "serve", "--port", str(port)]
    with program([*command, "--data", data], stderr=subprocess.PIPE) as server:
        assert server.stderr is not None
        assert any("serving" in line for line in server.stderr)
        adding = ["user", "add", "Alice", "--kudos", "50", "--json", "--data", data]
        alice = json.loads(run(*adding).stdout)
        with Horde(f"http://127.0.0.1:{port}", alice["api_key"]) as horde:
            assert horde.find_user().username == alice["alias"]
        assert "API key" in run("user", "add", "Dora", "--moderator", "--data", data).stdout
        nameless = run("user", "add", "<b>", "--data", data)
        assert nameless.exit_code == 1
        assert "username" in nameless.stderr
        server.send_signal(signal.SIGTERM)
        server.communicate()
    assert server.returncode == 0
