# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde user`: accounts of a horde on this machine."""

import asyncio
from typing import Annotated

import typer

from openhorde.cli.extras import mendable, needs, server_settings
from openhorde.cli.help_pages import App
from openhorde.cli.options import AsJson, Data
from openhorde.cli.screen import escape, output, print_json

app = App(no_args_is_help=True, help="Accounts of a horde on this machine.")


@app.callback()
def user() -> None:
    """Accounts of a horde on this machine."""


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name to show; a number follows it.")],
    id_from: Annotated[
        str | None,
        typer.Option(
            "--id-from",
            metavar="PROVIDER-ID",
            help="Identity at a login provider, such as gh_123.",
            show_default="a new pseudonym",
        ),
    ] = None,
    moderator: Annotated[
        bool, typer.Option("--moderator", help="Make the account a moderator's.")
    ] = False,
    trusted: Annotated[bool, typer.Option("--trusted", help="Trusted from the start.")] = False,
    kudos: Annotated[int, typer.Option(help="Initial kudos.")] = 0,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Create an account and print its API key, which is shown only once."""
    with needs("server"):
        from openhorde.server.boot import add_user

    settings = server_settings(data=data)
    with mendable():
        added = asyncio.run(
            add_user(
                settings,
                username=name,
                provider_id=id_from,
                moderator=moderator,
                trusted=trusted or moderator,
                kudos=kudos,
            )
        )
    if as_json:
        print_json(
            {
                "username": added.username,
                "alias": added.alias,
                "user_id": added.user_id,
                "api_key": added.api_key,
            }
        )
        return
    console = output()
    console.print(f"account [bold]{escape(added.alias)}[/]")
    console.print(f"API key [bold]{escape(added.api_key)}[/]", soft_wrap=True)
