# SPDX-License-Identifier: AGPL-3.0-or-later
"""Commands for which not everything is installed."""

from importlib.metadata import Distribution, PackageNotFoundError, distribution

import pytest
from cli.conftest import Run

from openhorde.cli import extras

MISSING = {"asyncpg", "torch", "vtracer"}


@pytest.mark.parametrize("command", ["demo", "up"])
def test_a_whole_horde_names_all_that_is_missing_before_it_starts(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def found(name: str) -> Distribution:
        if name in MISSING:
            raise PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(extras, "distribution", found)
    done = run(command)
    assert done.exit_code == 1
    told = " ".join(done.stderr.split())
    assert "(asyncpg, torch, vtracer)" in told
    assert "pip install '.[all]'" in told


def test_nothing_is_missing_here() -> None:
    extras.needs_everything()
