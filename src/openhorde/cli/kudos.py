# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde kudos`: the balance behind an API key."""

import asyncio

import msgspec
from rich.markup import escape
from rich.table import Table

from openhorde.cli.options import ANONYMOUS_KEY, DEFAULT_URL, ApiKey, AsJson, Url, connect
from openhorde.cli.screen import kudos_text, output, print_json
from openhorde.wire.users import UserDetails


def kudos(url: Url = DEFAULT_URL, api_key: ApiKey = ANONYMOUS_KEY, as_json: AsJson = False) -> None:
    """Show your account: its kudos, where they came from and what it did for the horde."""
    user = asyncio.run(_find_user(url, api_key))
    if as_json:
        print_json(user)
    else:
        _show(user)


async def _find_user(url: str, api_key: str) -> UserDetails:
    async with connect(url, api_key) as horde:
        return await horde.find_user()


def _show(user: UserDetails) -> None:
    console = output()
    console.print(f"[bold]{escape(user.username)}[/] has {kudos_text(user.kudos)}")
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, amount in msgspec.structs.asdict(user.kudos_details).items():
        if amount:
            table.add_row(name, kudos_text(amount))
    if user.evaluating_kudos:
        table.add_row("held until trusted", kudos_text(user.evaluating_kudos))
    records = user.records
    table.add_row("pictures asked for", str(records.request.image))
    table.add_row("pictures drawn for others", str(records.fulfillment.image))
    table.add_row("requests at once", str(user.concurrency))
    table.add_row("workers", str(user.worker_count))
    console.print(table)
