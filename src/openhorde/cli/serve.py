# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde serve`: run a horde's server."""

import dataclasses
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from openhorde.cli.extras import mendable, needs, server_settings
from openhorde.cli.options import Data
from openhorde.cli.screen import output


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on.", show_default="7001")
    ] = None,
    data: Data = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="List all settings and their variables.")
    ] = False,
) -> None:
    """Run the server until Ctrl-C or SIGTERM. Settings come from OPENHORDE_* variables."""
    if settings:
        _show_settings()
        return
    with needs("server"):
        from openhorde.server import boot

    loaded = server_settings(host=host, port=port, data=data)
    with mendable():
        boot.run(loaded)


def _show_settings() -> None:
    from openhorde.server.settings import ServerSettings

    table = Table("variable", "default", "meaning", show_lines=False)
    for field in dataclasses.fields(ServerSettings):
        default = "" if field.default in ("", ()) else str(field.default)
        table.add_row(
            f"OPENHORDE_{field.name.upper()}", escape(default), escape(field.metadata["help"])
        )
    output().print(table)
