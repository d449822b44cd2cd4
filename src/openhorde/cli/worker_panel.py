# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde worker panel`: a worker that its owner watches and steers from a browser."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from openhorde.cli.extras import needs
from openhorde.cli.generated import Command, with_settings
from openhorde.cli.screen import fail, messages
from openhorde.cli.worker import setting_options, worker_environment
from openhorde.cli.worker_log import WorkerLog

DEFAULT_FILE = Path("worker.yaml")


def panel_command() -> Command:
    """The command, with one option per field of the worker's settings."""
    return with_settings(setting_options())(_panel)


def _panel(
    config: Annotated[
        Path,
        typer.Option("--config", "-c", help="YAML file with settings; the panel changes it."),
    ] = DEFAULT_FILE,
    rest: Annotated[
        bool, typer.Option("--rest", help="Start at rest, until the panel is told to start work.")
    ] = False,
    **settings: Any,
) -> None:
    """Lend this machine to a horde, with a control panel in the browser.

    The panel listens on this machine alone. Its password is printed at the first start.
    The panel cannot change what an option or a variable sets.
    """
    with needs("worker"):
        from openhorde.worker.boot import load_panel, run_with_panel
        from openhorde.worker.settings import SettingsError
    with needs("panel"):
        panel_refused = load_panel()

    given = {name: value for name, value in settings.items() if value != []}
    running = run_with_panel(
        config,
        worker_environment(os.environ),
        given,
        say=lambda text: messages().print(text, markup=False, soft_wrap=True),
        start=not rest,
        observe=WorkerLog(),
    )
    try:
        raise typer.Exit(asyncio.run(running))
    except (SettingsError, panel_refused) as error:
        fail(error)
