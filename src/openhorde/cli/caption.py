# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde caption`: describe pictures."""

import typer
from rich.table import Table

from openhorde.cli.looking import Asked, DryRun, Pictures, Seen, run_form
from openhorde.cli.options import ANONYMOUS_KEY, DEFAULT_URL, ApiKey, AsJson, Url, Wait
from openhorde.cli.screen import escape, output
from openhorde.wire.alchemy import AskedForm


def caption(
    pictures: Pictures,
    dry_run: DryRun = False,
    wait: Wait = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = ANONYMOUS_KEY,
) -> None:
    """Describe pictures, each in a sentence."""
    asked = Asked(
        pictures=pictures,
        form=AskedForm(name="caption"),
        dry_run=dry_run,
        wait=wait,
        as_json=as_json,
        url=url,
        api_key=api_key,
    )
    run_form(asked, lambda seen: _show(seen, len(pictures) == 1))


def _show(seen: list[Seen], alone: bool) -> None:
    """One caption is alone on its line, for pipes; several stand beside their pictures."""
    if alone:
        typer.echo(seen[0].value)
        return
    table = Table("picture", "caption")
    for one in seen:
        table.add_row(escape(one.picture), escape(one.value))
    output().print(table)
