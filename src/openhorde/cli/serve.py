# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde serve`: run a horde's server."""

import asyncio
from typing import Annotated

import typer

from openhorde.cli.extras import mendable, needs, server_settings
from openhorde.cli.options import Data


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on.", show_default="7001")
    ] = None,
    data: Data = None,
) -> None:
    """Run the server until Ctrl-C or SIGTERM. Further settings: OPENHORDE_* (docs/operating.md)."""
    with needs("server"):
        from openhorde.server import boot

    settings = server_settings(host=host, port=port, data=data)
    with mendable():
        asyncio.run(boot.serve(settings))
