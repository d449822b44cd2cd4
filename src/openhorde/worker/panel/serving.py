# SPDX-License-Identifier: AGPL-3.0-or-later
"""The panel's own little web server, in the worker's event loop."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

# Before Gradio is imported: it must tell nobody that it runs.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from openhorde.worker.agent.control import Control
from openhorde.worker.panel.doors import Doors
from openhorde.worker.panel.log_tail import LogTail
from openhorde.worker.panel.page import Page
from openhorde.worker.panel.passwords import (
    Password,
    PasswordFile,
    PasswordUnusable,
    choose,
    make_up,
)
from openhorde.worker.panel.saving import SettingsFile
from openhorde.worker.panel.steering import Rewards
from openhorde.worker.settings import WorkerSettings

# Fonts that are on the machine of whoever looks: none is fetched.
FONTS = ("system-ui", "sans-serif")
MONO_FONTS = ("ui-monospace", "monospace")
CSS = Path(__file__).parent / "panel.css"


class PanelRefused(Exception):
    """The panel cannot be opened as it is set; the message says what to change."""


class Passwords:
    """The password that holds: the one in the settings, else the one in the file."""

    def __init__(self, control: Control, file: PasswordFile) -> None:
        self._control = control
        self._file = file
        self._kept = file.read()
        self._set: tuple[str, Password] | None = None

    def current(self) -> Password:
        """The password now. There has to be one: see `make_up_if_none`."""
        text = self._control.settings.panel_password
        if text:
            if self._set is None or self._set[0] != text:
                self._set = (text, choose(text))
            return self._set[1]
        assert self._kept is not None
        return self._kept

    def make_up_if_none(self) -> str | None:
        """Make a random one if there is none at all, and answer it: nobody can read it again."""
        if self._control.settings.panel_password or self._kept is not None:
            return None
        text, self._kept = make_up()
        self._file.write(self._kept)
        return text

    def keep(self, text: str) -> None:
        """The owner's new password. Raises PasswordUnusable."""
        if self._control.settings.panel_password:
            raise PasswordUnusable("the setting panel_password wins; change it there")
        fresh = choose(text)
        self._file.write(fresh)
        self._kept = fresh


@contextlib.asynccontextmanager
async def panel_open(
    control: Control,
    file: SettingsFile,
    tail: LogTail,
    rewards: Rewards,
    say: Callable[[str], None],
) -> AsyncIterator[str]:
    """The panel is served meanwhile; gives its address. `say` writes to the owner's console.

    Raises PanelRefused when the address is taken, or public without a password of the owner's.
    """
    settings = control.settings
    passwords = _passwords(control, file, say)
    page = Page(control, file, tail, rewards)
    # Takes a second or two: the worker has not begun yet.
    inside = _inside(page)
    listener = _listen(settings.panel_host, settings.panel_port)
    server = _Server(
        uvicorn.Config(
            Doors(inside, passwords.current, passwords.keep),
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            # Whoever connects could make up an address, and so have endless tries.
            proxy_headers=False,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        host = f"[{settings.panel_host}]" if ":" in settings.panel_host else settings.panel_host
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        # Pages that are open hold a stream each, and would be waited for.
        server.should_exit = server.force_exit = True
        await serving
        # Forced, uvicorn leaves this out, and the end of the loop would be logged as a failure.
        await server.lifespan.shutdown()
        listener.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the worker."""
        yield


def _passwords(control: Control, file: SettingsFile, say: Callable[[str], None]) -> Passwords:
    settings = control.settings
    kept_in = file.path.with_name(f"{file.path.stem}.panel-password")
    try:
        passwords = Passwords(control, PasswordFile(kept_in))
        if not is_loopback(settings.panel_host):
            _require_chosen(settings, passwords, kept_in)
        made_up = passwords.make_up_if_none()
    except PasswordUnusable as error:
        raise PanelRefused(str(error)) from error
    if made_up is not None:
        say(f"Password of the control panel: {made_up} (its hash is kept in {kept_in})")
    return passwords


def _require_chosen(settings: WorkerSettings, passwords: Passwords, kept_in: Path) -> None:
    if not settings.panel_password:
        kept = PasswordFile(kept_in).read()
        if kept is None or not kept.chosen:
            raise PanelRefused(
                f"panel_host {settings.panel_host} can be reached from other machines: choose a "
                "password first (panel_password, or in the panel at 127.0.0.1)"
            )
    passwords.current()


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise PanelRefused(
            f"the panel cannot listen at {host}, port {port} ({error.strerror}): "
            "change panel_host or panel_port"
        ) from error


def _inside(page: Page) -> ASGIApp:
    """What is behind the doors."""
    theme = gr.themes.Default(primary_hue="teal", font=FONTS, font_mono=MONO_FONTS).set(
        # The default is too pale to be read outdoors.
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
    )
    inside: ASGIApp = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page.build(),
        path="/",
        theme=theme,
        css_paths=CSS,
        footer_links=[],
        ssr_mode=False,
        enable_monitoring=False,
    )
    return inside
