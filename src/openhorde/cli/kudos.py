# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde kudos`: the account behind an API key, its history, and sending kudos to others."""

import asyncio
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from openhorde.cli.help_pages import App
from openhorde.cli.options import ANONYMOUS_KEY, DEFAULT_URL, ApiKey, AsJson, Url, connect
from openhorde.cli.screen import escape, kudos_text, output, print_json
from openhorde.wire.kudos import HistoryEntry, KudosHistory
from openhorde.wire.users import UserDetails

app = App(help="Show your account, its history, and send kudos to others.")


@app.callback(invoke_without_command=True)
def kudos(
    context: typer.Context,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = ANONYMOUS_KEY,
    as_json: AsJson = False,
) -> None:
    """Show your account: its kudos, where they came from and what it did for the horde."""
    if context.invoked_subcommand is not None:
        return
    user = asyncio.run(_find_user(url, api_key))
    if as_json:
        print_json(user)
    else:
        _show(user)


@app.command()
def history(
    count: Annotated[int, typer.Option("-n", min=1, max=100, help="How many entries.")] = 20,
    before: Annotated[
        str | None, typer.Option(help="Continue after an earlier page; it says with what.")
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = ANONYMOUS_KEY,
    as_json: AsJson = False,
) -> None:
    """Show what happened to your kudos, newest first, and why."""
    page, balance = asyncio.run(_history(url, api_key, before, count))
    if as_json:
        print_json(page)
    else:
        _show_history(page, balance)


@app.command()
def send(
    user: Annotated[str, typer.Argument(metavar="USER", help="Who gets them: NAME#ID.")],
    amount: Annotated[int, typer.Argument(metavar="AMOUNT", min=1, help="How many whole kudos.")],
    key: Annotated[
        str | None,
        typer.Option(help="A word of your choice: the same word sent again moves nothing more."),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = ANONYMOUS_KEY,
) -> None:
    """Send kudos to another user."""
    sent = asyncio.run(_send(url, api_key, user, amount, key))
    output().print(f"sent {kudos_text(sent)} to [bold]{escape(user)}[/]")


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


async def _history(
    url: str, api_key: str, before: str | None, count: int
) -> tuple[KudosHistory, float | None]:
    """A page, and for the newest one the balance that it ends with."""
    async with connect(url, api_key) as horde:
        page = await horde.history(before=before, limit=count)
        return page, None if before else (await horde.find_user()).kudos


async def _send(url: str, api_key: str, user: str, amount: int, key: str | None) -> float:
    async with connect(url, api_key) as horde:
        return await horde.send_kudos(user, amount, key=key)


def _show_history(page: KudosHistory, balance: float | None) -> None:
    """Each column of amounts can be added up: what moved, and what was set aside or freed."""
    table = Table("when", "kudos", "balance", "held", "what", "why")
    for column in table.columns[1:4]:
        column.justify = "right"
    for entry in page.entries:
        amount, moved = f"{entry.amount:+,.2f}", entry.effect == "balance"
        table.add_row(
            entry.time[:19],
            amount if moved else "",
            f"{balance:,.2f}" if moved and balance is not None else "",
            "" if moved else amount,
            entry.purpose,
            escape(_reason(entry)),
        )
        if moved and balance is not None:
            balance -= entry.amount
    console = output()
    console.print(table if page.entries else "nothing has happened yet")
    if any(entry.effect != "balance" for entry in page.entries):
        console.print("held: set aside for what is under way (-), paid from or given back (+)")
    if page.next:
        console.print(f"older: horde kudos history --before {page.next}")


def _reason(entry: HistoryEntry) -> str:
    if entry.counterparty:
        return f"{entry.why.removesuffix('.')}: {entry.counterparty}."
    if entry.lines:
        parts = ", ".join(f"{line.label} {line.kudos:g}" for line in entry.lines)
        return f"{entry.why} {parts}."
    return entry.why
