# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde worker`: lend this machine to a horde. The options are the worker's settings."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from openhorde.cli.extras import needs
from openhorde.cli.generated import Command, Setting, with_settings
from openhorde.cli.screen import fail
from openhorde.cli.worker_log import WorkerLog

# Names that all commands share, and the variable that all of them read.
SHARED = {
    "horde_url": ("--url", "OPENHORDE_URL"),
    "api_key": ("--api-key", "OPENHORDE_API_KEY"),
}


def worker_command() -> Command:
    """The command, with one option per field of the worker's settings."""
    # Light: the settings need nothing that a plain installation lacks.
    from openhorde.worker.settings import settings_fields

    settings = []
    for field in settings_fields():
        dashed = field.name.replace("_", "-")
        option = f"--{dashed}/--no-{dashed}" if field.is_flag else f"--{dashed}"
        if field.name in SHARED:
            option = SHARED[field.name][0]
        bounds = [f"{bound:g}" for bound in (field.minimum, field.maximum) if bound is not None]
        settings.append(
            Setting(
                name=field.name,
                type=bool if field.is_flag else list[str] if field.is_list else str,
                flags=(option, *field.flags[1:]),
                help=field.help + (f" ({' to '.join(bounds)})" if bounds else ""),
                default_text=_default_text(field.default),
            )
        )
    return with_settings(settings)(_worker)


def _worker(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML file with settings.")
    ] = None,
    **settings: Any,
) -> None:
    """Lend this machine to a horde until Ctrl-C or SIGTERM, which finish the work at hand.

    Options win over OPENHORDE_WORKER_* variables, those over the YAML file.
    """
    with needs("worker"):
        from openhorde.worker.boot import run_worker
        from openhorde.worker.settings import SettingsError, load_settings

    # A list that was not given must not hide the one in the YAML file.
    given = {name: value for name, value in settings.items() if value != []}
    try:
        loaded = load_settings(config, worker_environment(os.environ), given)
    except SettingsError as error:
        fail(error)
    raise typer.Exit(asyncio.run(run_worker(loaded, observe=WorkerLog())))


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, where OPENHORDE_URL and OPENHORDE_API_KEY hold for the worker as well."""
    shared = {
        f"OPENHORDE_WORKER_{name.upper()}": environ[variable]
        for name, (_, variable) in SHARED.items()
        if variable in environ
    }
    return {**shared, **environ}


def _default_text(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if default is None or default == []:
        return "none"
    return str(default)
