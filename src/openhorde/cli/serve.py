# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde serve`: run a horde's server."""

import dataclasses
import os
from typing import Annotated

import typer
from rich.table import Column, Table

from openhorde.cli.children import horde_command
from openhorde.cli.extras import mendable, needs, server_settings
from openhorde.cli.options import Data
from openhorde.cli.screen import escape, output

SERVE_PLACE = "serve-place"


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on.", show_default="7001")
    ] = None,
    data: Data = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Processes that share the work.", show_default="1"),
    ] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="List all settings and their variables.")
    ] = False,
) -> None:
    """Run the server until Ctrl-C or SIGTERM. Settings come from OPENHORDE_* variables."""
    if settings:
        _show_settings()
        return
    with needs("server"):
        from openhorde.server import serving

    loaded = server_settings(host=host, port=port, data=data, processes=processes)
    with mendable():
        serving.run(
            loaded, lambda place: horde_command(SERVE_PLACE, *place.words()), dict(os.environ)
        )


def serve_place(number: int, channel: int, counts: int, public_url: str) -> None:
    """Be one of the processes of `horde serve --processes`, which starts this command."""
    with needs("server"):
        from openhorde.server import serving

    with mendable():
        serving.run_place(server_settings(), serving.Place(number, channel, counts, public_url))


def _show_settings() -> None:
    from openhorde.server.settings import ServerSettings, written

    table = Table(
        Column("variable", no_wrap=True),
        Column("default", overflow="fold"),
        Column("meaning", overflow="fold"),
    )
    for field in dataclasses.fields(ServerSettings):
        table.add_row(
            f"OPENHORDE_{field.name.upper()}",
            escape(written(field.default)),
            escape(field.metadata["help"]),
        )
    output().print(table)
