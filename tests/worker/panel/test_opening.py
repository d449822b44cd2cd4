# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the panel may listen, and with which password."""

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from processes import Running

from openhorde.worker.agent.control import Control
from openhorde.worker.panel.log_tail import LogTail
from openhorde.worker.panel.passwords import PasswordFile, choose, make_up
from openhorde.worker.panel.saving import SettingsFile
from openhorde.worker.panel.serving import PanelRefused, is_loopback, panel_open
from openhorde.worker.panel.steering import Rewards

EVERYWHERE = "0.0.0.0"


class Opening:
    """A panel of a worker at rest, and what it said to the console."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        flags = {"panel_port": 0, "backends": ["fake"], **settings}
        self.file = SettingsFile(folder / "worker.yaml", {}, flags)
        self.kept = PasswordFile(folder / "worker.panel-password")
        self.said: list[str] = []

    def panel(self) -> Any:
        control = Control(self.file.load(), start=False)
        return panel_open(control, self.file, LogTail(lambda: []), Rewards(), self.said.append)

    async def refused(self) -> str:
        with pytest.raises(PanelRefused) as refusal:
            async with self.panel():
                pass
        return str(refusal.value)


async def test_the_first_start_tells_a_password_and_the_next_does_not(tmp_path: Path) -> None:
    opening = Opening(tmp_path)
    async with opening.panel() as address, httpx.AsyncClient(base_url=address) as visitor:
        (said,) = opening.said
        kept = opening.kept.read()
        assert kept is not None
        password = next(word for word in said.split() if kept.matches(word))
        assert (await visitor.post("/login", data={"password": password})).status_code == 303
        page = await visitor.get("/")
        assert page.status_code == 200
        assert "openhorde worker" in page.text
    again = Opening(tmp_path)
    async with again.panel():
        assert again.said == []


def test_it_ends_on_sigterm_without_a_traceback(tmp_path: Path) -> None:
    config = tmp_path / "worker.yaml"
    config.write_text("backends: [fake]\npanel_port: 0\n")
    worker = Running(tmp_path / "worker.log", "worker", "panel", "--rest", "--config", str(config))
    with worker:
        worker.wait_for_word("Control panel: ")
        assert worker.stop() == 0
        assert "Traceback" not in worker.said()


async def test_a_public_address_wants_a_password_of_the_owners(tmp_path: Path) -> None:
    opening = Opening(tmp_path, panel_host=EVERYWHERE)
    assert "choose a password first" in await opening.refused()
    opening.kept.write(make_up()[1])
    assert "choose a password first" in await opening.refused()
    opening.kept.write(choose("a longer one of mine"))
    async with opening.panel() as address:
        assert EVERYWHERE in address


async def test_a_password_in_the_settings_will_do_and_wins(tmp_path: Path) -> None:
    opening = Opening(tmp_path, panel_host=EVERYWHERE, panel_password="in the settings")
    opening.kept.write(choose("in the password file"))
    async with opening.panel() as address:
        local = address.replace(EVERYWHERE, "127.0.0.1")
        async with httpx.AsyncClient(base_url=local) as visitor:
            for password, status in (("in the password file", 403), ("in the settings", 303)):
                answer = await visitor.post("/login", data={"password": password})
                assert answer.status_code == status
    assert opening.said == []


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = await Opening(tmp_path, panel_port=port).refused()
    assert f"port {port}" in told
    assert "panel_port" in told


async def test_a_broken_password_file_does_not_open_the_doors(tmp_path: Path) -> None:
    opening = Opening(tmp_path)
    opening.kept.path.write_text("nonsense")
    assert "is not a password of the panel" in await opening.refused()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        (EVERYWHERE, False),
        ("::", False),
        ("192.168.1.5", False),
        ("worker.example.org", False),
    ],
)
def test_what_only_this_machine_can_reach(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
