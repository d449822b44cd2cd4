# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde db`: the database of a horde on this machine."""

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from openhorde.cli.extras import mendable, needs, server_settings
from openhorde.cli.help_pages import App
from openhorde.cli.options import Data
from openhorde.cli.screen import escape, output

app = App(no_args_is_help=True, help="The database of a horde on this machine.")


class Phase(StrEnum):
    """Which migrations to run: those the running version can live with, those it can't, or all."""

    before = "before"
    after = "after"
    all = "all"


@app.callback()
def database() -> None:
    """The database of a horde on this machine."""


@app.command()
def upgrade(
    phase: Annotated[
        Phase, typer.Option(help="Before or after the new version is deployed, or all.")
    ] = Phase.all,
    data: Data = None,
) -> None:
    """Bring the database to this version's schema."""
    with needs("server"):
        from openhorde.server.boot import upgrade_database

    settings = server_settings(data=data)
    with mendable():
        applied = asyncio.run(upgrade_database(settings, phase.value))
    console = output()
    for name in applied:
        console.print(f"applied {escape(name)}")
    if not applied:
        console.print("nothing to do: the database is up to date")
