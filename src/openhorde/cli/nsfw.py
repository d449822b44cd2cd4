# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde nsfw`: judge pictures."""

from openhorde.cli.looking import Asked, DryRun, Pictures, Seen, run_form
from openhorde.cli.options import ANONYMOUS_KEY, DEFAULT_URL, ApiKey, AsJson, Url, Wait
from openhorde.cli.screen import escape, output
from openhorde.wire.alchemy import AskedForm


def nsfw(
    pictures: Pictures,
    dry_run: DryRun = False,
    wait: Wait = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = ANONYMOUS_KEY,
) -> None:
    """Tell whether pictures are safe for work."""
    asked = Asked(
        pictures=pictures,
        form=AskedForm(name="nsfw"),
        dry_run=dry_run,
        wait=wait,
        as_json=as_json,
        url=url,
        api_key=api_key,
    )
    run_form(asked, _show)


def _show(seen: list[Seen]) -> None:
    console = output()
    for one in seen:
        verdict = "[red]not safe for work[/]" if one.value else "[green]safe for work[/]"
        console.print(f"[bold]{escape(one.picture)}[/]  {verdict}", soft_wrap=True)
