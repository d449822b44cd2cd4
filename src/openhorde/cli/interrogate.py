# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde interrogate`: which keywords fit a picture, and how surely."""

from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from openhorde.cli.looking import Asked, DryRun, Pictures, Seen, run_form
from openhorde.cli.options import ANONYMOUS_KEY, DEFAULT_URL, ApiKey, AsJson, Url, Wait
from openhorde.cli.screen import escape, output
from openhorde.client import Keyword
from openhorde.wire.alchemy import AskedForm

KEYWORD_CELLS = 24
BAR_CELLS = 24
EIGHTHS = " ▏▎▍▌▋▊▉"


def interrogate(
    pictures: Pictures,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            min=1,
            max=50,
            help="How many keywords of each category.",
            show_default="the worker decides",
        ),
    ] = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = ANONYMOUS_KEY,
) -> None:
    """Find the keywords that fit pictures, by category, with the confidence of each."""
    asked = Asked(
        pictures=pictures,
        form=AskedForm(name="interrogation", payload={"count": top} if top else None),
        dry_run=dry_run,
        wait=wait,
        as_json=as_json,
        url=url,
        api_key=api_key,
    )
    # Not every horde lets one say how many.
    run_form(asked, lambda seen: _show([_cut(one, top) for one in seen]))


def bar(percent: float) -> str:
    """A bar that is full at 100 percent, in eighths of a cell."""
    eighths = round(min(max(percent, 0.0), 100.0) / 100 * BAR_CELLS * 8)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _cut(seen: Seen, top: int | None) -> Seen:
    return replace(seen, value={name: words[:top] for name, words in seen.value.items()})


def _show(seen: list[Seen]) -> None:
    console = output()
    for one in seen:
        console.print(f"[bold]{escape(one.picture)}[/]", soft_wrap=True)
        for category, keywords in one.value.items():
            _show_category(console, category, keywords)


def _show_category(console: Console, category: str, keywords: list[Keyword]) -> None:
    table = Table(category, "", "", box=None, header_style="bold cyan", padding=(0, 2, 0, 0))
    table.columns[0].min_width = KEYWORD_CELLS
    table.columns[1].justify = "right"
    for one in keywords:
        table.add_row(escape(one.text), f"{one.confidence:.1f} %", bar(one.confidence))
    console.print(table)
