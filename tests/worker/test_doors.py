# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sources that strangers name are fetched from public addresses alone."""

from collections.abc import Sequence

import pytest

from openhorde.worker.agent.api import Away, HordeApi
from openhorde.worker.agent.doors import Doors, Shut, is_public
from openhorde.worker.settings import load_settings

NAMES = {
    "horde.example": ["93.184.216.34"],
    "pictures.example": ["93.184.216.35", "2606:2800:220:1::1"],
    "router.example": ["192.168.1.1"],
    "both.example": ["93.184.216.35", "127.0.0.1"],
    "horde.lan": ["192.168.1.7"],
    "nothing.example": [],
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
    opening = Doors("https://horde.example", resolve)
    assert await opening.address("https://pictures.example/a.webp") == "93.184.216.35"
    for shut in ("router.example", "both.example", "nothing.example", "absent.example", ""):
        with pytest.raises(Shut):
            await opening.address(f"http://{shut}/a.webp")


async def test_a_horde_at_home_has_its_pictures_there() -> None:
    opening = Doors("http://horde.lan:7001", resolve)
    assert await opening.address("http://router.example/a.webp") == "192.168.1.1"


async def test_a_proxy_decides_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://proxy"})
    assert await Doors("https://horde.example", resolve).address("http://router.example/") is None


async def test_a_download_goes_through_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    api = HordeApi(load_settings(None, None, {"horde_url": "https://horde.example"}))
    monkeypatch.setattr(api, "_doors", Doors("https://horde.example", resolve))
    with pytest.raises(Away, match="not at a public address"):
        await api.get("http://router.example/secret", 1000, 5)
    await api.close()
