# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde login` keeps an address and a key, which never go to another horde than theirs."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Run
from client.playing_horde import GOOD_KEY, PlayingHorde

from openhorde.client import ANONYMOUS_KEY


@pytest.fixture
def file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a user who has set no variables."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OPENHORDE_URL")
    monkeypatch.delenv("OPENHORDE_API_KEY")
    return tmp_path / "config" / "openhorde" / "client.yaml"


@pytest.fixture
def another() -> Iterator[PlayingHorde]:
    with PlayingHorde().running() as horde:
        yield horde


def keys(playing: PlayingHorde, path: str) -> list[str]:
    return [one.headers["apikey"] for one in playing.calls(path)]


def test_what_is_kept_serves_every_command(run: Run, playing: PlayingHorde, file: Path) -> None:
    done = run("login", "--url", playing.url, "--api-key", GOOD_KEY)
    assert done.exit_code == 0, done.output
    assert "Alice#3" in done.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for command in (("kudos",), ("kudos", "history"), ("status",)):
        assert run(*command).exit_code == 0, command
    assert set(keys(playing, "find_user") + keys(playing, "kudos/history")) == {GOOD_KEY}
    assert run("login", "--forget").exit_code == 0
    assert not file.exists()


def test_a_key_that_is_wrong_is_not_kept(run: Run, playing: PlayingHorde, file: Path) -> None:
    done = run("login", "--url", playing.url, "--api-key", "wrong")
    assert done.exit_code == 1
    assert "--api-key" in done.stderr
    assert not file.exists()


def test_options_and_variables_win(
    run: Run, playing: PlayingHorde, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("login", "--url", playing.url, "--api-key", GOOD_KEY)
    run("status", "--api-key", "of-the-option")
    monkeypatch.setenv("OPENHORDE_API_KEY", "of-the-variable")
    run("status")
    assert keys(playing, "status/heartbeat") == ["of-the-option", "of-the-variable"]


@pytest.mark.parametrize("by_variable", [False, True])
def test_the_key_goes_to_no_other_horde(
    by_variable: bool,
    run: Run,
    playing: PlayingHorde,
    another: PlayingHorde,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("login", "--url", playing.url, "--api-key", GOOD_KEY)
    if by_variable:
        monkeypatch.setenv("OPENHORDE_URL", another.url)
        run("status")
    else:
        run("status", "--url", another.url)
    assert keys(another, "status/heartbeat") == [ANONYMOUS_KEY]


@pytest.mark.parametrize("text", ["[", "url: 3", "key: misspelt", "\x00"])
def test_a_file_that_cannot_be_read_is_named(text: str, run: Run, file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text)
    done = run("status")
    assert done.exit_code == 1
    assert str(file) in done.stderr
    assert "--forget" in done.stderr
    assert run("login", "--forget").exit_code == 0
