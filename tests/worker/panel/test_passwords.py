# SPDX-License-Identifier: AGPL-3.0-or-later
"""The panel's password: kept as a hash, for its owner's eyes only."""

import stat
from pathlib import Path

import pytest

from openhorde.worker.panel.passwords import (
    LENGTH_MIN,
    PasswordFile,
    PasswordUnusable,
    choose,
    make_up,
)

RIGHT = "correct horse battery"


def test_a_chosen_password_matches_itself_alone() -> None:
    password = choose(RIGHT)
    assert password.chosen
    assert password.matches(RIGHT)
    assert not password.matches(RIGHT + " ")
    assert not password.matches("")


def test_made_up_passwords_differ_and_match() -> None:
    first, password = make_up()
    second, _ = make_up()
    assert first != second
    assert len(first) >= LENGTH_MIN
    assert password.matches(first)
    assert not password.matches(second)
    assert not password.chosen


@pytest.mark.parametrize("length", [0, LENGTH_MIN - 1, 201])
def test_a_password_out_of_bounds_is_refused_with_the_bounds(length: int) -> None:
    with pytest.raises(PasswordUnusable, match=f"10 to 200 characters, not {length}"):
        choose("x" * length)


def test_the_file_keeps_a_hash_that_only_its_owner_may_read(tmp_path: Path) -> None:
    file = PasswordFile(tmp_path / "worker.panel-password")
    assert file.read() is None
    file.write(choose(RIGHT))
    text = file.path.read_text()
    assert RIGHT not in text
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    kept = PasswordFile(file.path).read()
    assert kept is not None
    assert kept.chosen
    assert kept.matches(RIGHT)
    assert [path.name for path in tmp_path.iterdir()] == [file.path.name]


@pytest.mark.parametrize("text", ["", "owner scrypt 1 2 3 zz zz", "owner md5 1 1 1 aa bb", "x"])
def test_a_broken_file_is_named_and_not_taken_for_no_password(tmp_path: Path, text: str) -> None:
    path = tmp_path / "worker.panel-password"
    path.write_text(text)
    with pytest.raises(PasswordUnusable, match=str(path)):
        PasswordFile(path).read()
