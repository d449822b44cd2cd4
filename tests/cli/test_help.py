# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every command's help can be read at 80 columns, and mistakes are told in words."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from cli.conftest import Run

from openhorde.cli.main import app
from openhorde.cli.screen import number_text
from openhorde.worker.labels import GROUPS
from openhorde.worker.settings import settings_fields

COLUMNS = 80


def commands(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it, groups included."""
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, *words, name)


EVERY = dict(commands(typer.main.get_command(app)))


@pytest.fixture
def page(run: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The help of a command on a narrow terminal."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))

    def read(*words: str) -> str:
        done = run(*words, "--help")
        assert done.exit_code == 0, done.output
        return str(done.stdout)

    return read


@pytest.mark.parametrize("words", EVERY, ids=lambda words: " ".join(words) or "horde")
def test_nothing_is_cut(words: tuple[str, ...], page: Any) -> None:
    told = page(*words)
    assert "…" not in told
    assert max(len(line) for line in told.splitlines()) <= COLUMNS
    for type_of_python in ("<str>", "<bool>", "<int>", "<float>", "<list", "e+"):
        assert type_of_python not in told
    assert "{" not in told.splitlines()[0]
    typed = set(told.replace(",", " ").split())
    for parameter in EVERY[words].params:
        if not parameter.hidden and parameter.param_type_name == "option":
            assert typed.issuperset([*parameter.opts, *parameter.secondary_opts])
            help_word = (parameter.help or "").split()[0]
            assert help_word in told


def test_the_settings_of_a_worker_stand_in_groups(page: Any) -> None:
    told = page("worker", "run")
    titles = [line.removesuffix(":") for line in told.splitlines() if line and line[0] != " "]
    assert titles[2:] == [title for title, _ in GROUPS]
    plain = "".join(told.split())
    for field in settings_fields():
        if field.maximum is not None:
            assert f"{number_text(field.minimum or 0)}to{number_text(field.maximum)}." in plain
        if isinstance(field.default, str) and field.default:
            assert f"[default:{field.default.replace(' ', '')}]" in plain


def test_numbers_are_plain() -> None:
    numbers = (0, 0.01, 1, 7002, 9999.5, 65_535, 16_777_216, 2**41)
    assert [number_text(number) for number in numbers] == [
        "0",
        "0.01",
        "1",
        "7002",
        "9999.5",
        "65,535",
        "16,777,216",
        "2,199,023,255,552",
    ]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("imag", "a fox"), "Did you mean 'image'?"),
        (("worker", "chekc"), "Did you mean 'check'?"),
        (("kudos", "histori"), "Did you mean 'history'?"),
        (("image", "--stpes", "3", "a fox"), "No such option: --stpes. Did you mean --steps"),
        (("image", "--n", "3", "a fox"), "No such option: --n. Did you mean --number or -n?"),
        (("image", "--width", "wide", "a fox"), "'--width': it must be a whole number."),
        (("image", "--cfg", "much", "a fox"), "'--cfg': it must be a number."),
        (("up", "--port", "99999"), "it must be at most 65535."),
        (("kudos", "send", "Bob#4", "0"), "it must be at least 1."),
        (("caption",), "Missing argument 'PICTURE'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_mistyped_is_told_in_words(typed: tuple[str, ...], told: str, run: Run) -> None:
    done = run(*typed)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Input should" not in done.stderr


def test_the_shell_can_complete(page: Any) -> None:
    assert "--install-completion" in page()
