# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings reach other processes through the environment, whole."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from openhorde.server.settings import (
    ServerSettings,
    SettingError,
    as_environment,
    load_settings,
)

SETTINGS = (
    ServerSettings(),
    ServerSettings(
        port=0,
        data=Path("/var/lib/a horde"),
        known_models=None,
        rate_limits=False,
        duty_seconds=0.25,
        fetch_allow=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        processes=3,
        limits_url="valkey://counts.test:6379/1",
    ),
    ServerSettings(known_models=("Alice's model", "another")),
)


@pytest.mark.parametrize("settings", SETTINGS)
def test_what_is_written_is_read_again(settings: ServerSettings) -> None:
    assert load_settings(as_environment(settings)) == settings


@pytest.mark.parametrize("processes", [0, 65])
def test_processes_are_bounded(processes: int) -> None:
    with pytest.raises(SettingError, match="processes must be 1 to 64"):
        ServerSettings(processes=processes)


def test_who_counts_is_named_by_a_url_that_is_not_repeated() -> None:
    with pytest.raises(SettingError, match="limits_url must begin with one of redis") as refused:
        ServerSettings(limits_url="http://user:secret@counts.test")
    assert "secret" not in str(refused.value)
