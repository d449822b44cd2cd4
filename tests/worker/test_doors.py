# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sources that strangers name are fetched from public addresses alone."""

from collections.abc import Sequence

import pytest

from openhorde.worker.agent.api import Away, HordeApi
from openhorde.worker.agent.doors import Doors, Shut, is_public
from openhorde.worker.settings import SettingsError, load_settings, networks

NAMES = {
    "horde.example": ["93.184.216.34"],
    "pictures.example": ["93.184.216.35", "2606:2800:220:1::1"],
    "router.example": ["192.168.1.1"],
    "both.example": ["93.184.216.35", "127.0.0.1"],
    "horde.lan": ["192.168.1.7"],
    "nothing.example": [],
    "far.example": ["192.168.1.77"],
    "loopback.example": ["127.0.0.1"],
    "second.example": ["127.0.0.2"],
    # A name in ASCII dress that stands for no other.
    "xn--ls8h.example": ["127.0.0.1"],
    # For documentation: no machine has it.
    "elsewhere.example": ["192.0.2.7"],
}


async def resolve(host: str, port: int) -> Sequence[str]:
    if host not in NAMES:
        raise OSError("no such host")
    return NAMES[host]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.getproxies", dict)


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("93.184.216.34", True),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),
        ("224.0.0.1", False),
    ],
)
def test_addresses_are_told_apart(text: str, public: bool) -> None:
    assert is_public(text) is public


async def test_a_public_horde_opens_to_public_addresses_alone() -> None:
    opening = Doors("https://horde.example", (), resolve)
    assert await opening.address("https://pictures.example/a.webp") == "93.184.216.35"
    for shut in ("router.example", "both.example", "nothing.example", "absent.example", ""):
        with pytest.raises(Shut):
            await opening.address(f"http://{shut}/a.webp")


async def test_a_horde_at_home_has_its_pictures_there_and_nowhere_else_at_home() -> None:
    opening = Doors("http://horde.lan:7001", (), resolve)
    assert await opening.address("http://horde.lan:9000/a.webp") == "192.168.1.7"
    assert await opening.address("https://pictures.example/a.webp") == "93.184.216.35"
    for shut in ("router.example", "loopback.example"):
        with pytest.raises(Shut, match="list its range in storage_networks"):
            await opening.address(f"http://{shut}/a.webp")


async def test_what_the_owner_lists_is_open() -> None:
    listed = networks(["192.168.1.0/28"])
    for horde in ("https://horde.example", "http://horde.lan:7001"):
        opening = Doors(horde, listed, resolve)
        assert await opening.address("http://router.example/a.webp") == "192.168.1.1"
        with pytest.raises(Shut):
            await opening.address("http://far.example/a.webp")


async def test_a_horde_on_this_machine_is_at_all_its_addresses() -> None:
    opening = Doors("http://loopback.example:7001", (), resolve)
    assert await opening.address("http://second.example:9000/a.webp") == "127.0.0.2"
    with pytest.raises(Shut):
        await opening.address("http://elsewhere.example/a.webp")


@pytest.mark.parametrize("wrong", ["192.168.1.0/99", "localhost", "192.168.1.256"])
def test_what_is_no_range_is_refused_by_the_settings_name(wrong: str) -> None:
    with pytest.raises(SettingsError, match="storage_networks"):
        load_settings(None, None, {"storage_networks": [wrong]})


async def test_a_proxy_decides_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://proxy"})
    opening = Doors("https://horde.example", (), resolve)
    assert await opening.address("http://router.example/") is None


async def test_downloads_and_uploads_go_through_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    api = HordeApi(load_settings(None, None, {"horde_url": "https://horde.example"}))
    monkeypatch.setattr(api, "_doors", Doors("https://horde.example", (), resolve))
    with pytest.raises(Away, match="not at a public address"):
        await api.get("http://router.example/secret", 1000, 5)
    with pytest.raises(Away, match="not at a public address"):
        await api.put("http://router.example/admin?reset=1", b"picture")
    await api.close()


async def test_names_that_no_other_spelling_stands_for_are_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = HordeApi(load_settings(None, None, {"horde_url": "http://loopback.example"}))
    monkeypatch.setattr(api, "_doors", Doors("http://loopback.example", (), resolve))
    # Nobody listens there, and so nothing but the connection fails.
    with pytest.raises(Away, match=r"download: (All connection|\[Errno)"):
        await api.get("http://xn--ls8h.example:1/a.webp", 1000, 5)
    await api.close()
