# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde ledger`: proves that nobody has changed the ledger of a horde on this machine."""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from openhorde.cli.extras import mendable, needs, server_settings
from openhorde.cli.help_pages import App
from openhorde.cli.options import Data
from openhorde.cli.screen import escape, fail, messages, output
from openhorde.incoming.texts import read_json_file
from openhorde.wire.kudos import LedgerRoot

app = App(no_args_is_help=True, help="The ledger of a horde on this machine.")


@app.callback()
def ledger() -> None:
    """The ledger of a horde on this machine."""


@app.command()
def verify(
    roots: Annotated[
        Path | None,
        typer.Option(
            "--roots",
            metavar="FILE",
            help="Signed roots kept elsewhere: the JSON of GET /api/v2/kudos/roots.",
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Check sums, balances, the chain of all transfers and its signed roots.

    Exits with 1 and says what is wrong if anything is. Works beside a running server.
    """
    with needs("server"):
        from openhorde.server.boot import verify_ledger

    settings = server_settings(data=data)
    kept = None if roots is None else _kept(roots)
    progress = messages()
    with mendable():
        report = asyncio.run(
            verify_ledger(
                settings,
                kept,
                lambda done, of: progress.print(f"{done:,} of {of:,} transfers", soft_wrap=True),
            )
        )
    console = output()
    for fact in report.checked:
        console.print(f"checked {escape(fact)}", soft_wrap=True)
    for fault in report.faults:
        console.print(f"[bold red]wrong:[/] {escape(fault)}", soft_wrap=True)
    if report.faults:
        fail("the ledger is not what it was. Keep a copy of the database before you do anything.")
    console.print("[bold]the ledger is sound[/]")


def _kept(file: Path) -> list[LedgerRoot]:
    try:
        return read_json_file(file, list[LedgerRoot])
    except (OSError, msgspec.DecodeError) as error:
        fail(f"--roots {file}: {error}. Give the JSON of GET /api/v2/kudos/roots.")
