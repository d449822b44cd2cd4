# SPDX-License-Identifier: AGPL-3.0-or-later
"""On which addresses a server listens, by what it is told."""

import socket

import pytest

from openhorde.server.serving import listening
from openhorde.server.settings import ServerSettings, SettingError

BOTH = {"127.0.0.1", "::1"}


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=10):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("host", "reached", "url"),
    [
        ("127.0.0.1", {"127.0.0.1"}, "http://127.0.0.1"),
        ("0.0.0.0", {"127.0.0.1"}, "http://127.0.0.1"),
        ("localhost", {"127.0.0.1"}, "http://127.0.0.1"),
        ("::1", {"::1"}, "http://[::1]"),
        ("[::1]", {"::1"}, "http://[::1]"),
        ("::", BOTH, "http://127.0.0.1"),
        ("[::]", BOTH, "http://127.0.0.1"),
        ("", BOTH, "http://127.0.0.1"),
    ],
)
def test_where_a_server_is_reached(host: str, reached: set[str], url: str) -> None:
    with listening(ServerSettings(host=host, port=0)) as (_, settings, public_url):
        assert {each for each in BOTH if answers(each, settings.port)} == reached
        assert public_url == f"{url}:{settings.port}"
    with listening(ServerSettings(host=host, port=0, public_url="https://h.example/x")) as found:
        assert found[2] == "https://h.example/x"


@pytest.mark.parametrize("host", ["no such name", "a..b", "a" * 70, "1.2.3.4.5", "::g", "\ud800"])
def test_what_is_no_place_to_listen_on_is_said(host: str) -> None:
    with pytest.raises(SettingError, match="host must be"), listening(ServerSettings(host=host)):
        pass
