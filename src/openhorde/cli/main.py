# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde`: the command line. One file per command; this one puts them together."""

import sys
from typing import Annotated, Any

import typer

from openhorde import __version__
from openhorde.cli import database, kudos, ledger, user
from openhorde.cli.alchemy import alchemy
from openhorde.cli.caption import caption
from openhorde.cli.demo import demo
from openhorde.cli.help_pages import App, Group
from openhorde.cli.image import image
from openhorde.cli.interrogate import interrogate
from openhorde.cli.login import defaults, login, login_file, read_login
from openhorde.cli.nsfw import nsfw
from openhorde.cli.private_horde import PrivateHordeFailure
from openhorde.cli.screen import fail, messages
from openhorde.cli.serve import SERVE_PLACE, serve, serve_place
from openhorde.cli.simulate import simulate
from openhorde.cli.status import status
from openhorde.cli.text import text
from openhorde.cli.up import up
from openhorde.cli.worker import worker_app
from openhorde.cli.worker_panel import panel_command
from openhorde.client import HordeError
from openhorde.incoming.texts import write_anything

INTERRUPTED = 130
ASK, RUN = "Use a horde", "Run a horde"


class Commands(Group):
    """Failures that a user can mend are sentences, never tracebacks."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (HordeError, PrivateHordeFailure) as failure:
            fail(failure)
        except KeyboardInterrupt:
            messages().print("interrupted")
            raise typer.Exit(INTERRUPTED) from None


app = App(
    name="horde",
    cls=Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"openhorde {__version__}")
        raise typer.Exit


@app.callback()
def horde(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """A commons of machines for generative AI: use one, or run one."""
    forgets = context.invoked_subcommand == "login"
    kept = None if forgets else read_login(login_file())
    if kept is not None:
        context.default_map = defaults(context.command, kept)


app.command(rich_help_panel=ASK)(image)
app.command(rich_help_panel=ASK)(caption)
app.command(rich_help_panel=ASK)(nsfw)
app.command(rich_help_panel=ASK)(interrogate)
app.command(rich_help_panel=ASK)(alchemy)
app.command(rich_help_panel=ASK)(text)
app.command(rich_help_panel=ASK)(status)
app.add_typer(kudos.app, name="kudos", rich_help_panel=ASK)
app.command(rich_help_panel=ASK)(login)
app.command(rich_help_panel=RUN)(demo)
app.command(rich_help_panel=RUN)(up)
app.command(rich_help_panel=RUN)(serve)
app.command(SERVE_PLACE, hidden=True)(serve_place)
app.command(rich_help_panel=RUN)(simulate)
worker = worker_app()
worker.command("panel")(panel_command())
app.add_typer(worker, name="worker", rich_help_panel=RUN)
app.add_typer(user.app, name="user", rich_help_panel=RUN)
app.add_typer(database.app, name="db", rich_help_panel=RUN)
app.add_typer(ledger.app, name="ledger", rich_help_panel=RUN)


def main() -> None:
    """The entry point."""
    write_anything(sys.stdout, sys.stderr)
    app()


if __name__ == "__main__":
    main()
