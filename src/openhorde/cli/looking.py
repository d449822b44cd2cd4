# SPDX-License-Identifier: AGPL-3.0-or-later
"""A form asked of pictures from the command line: all at once, each with a result or a failure."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console

from openhorde.cli.options import connect
from openhorde.cli.prices import show_lines, show_wait
from openhorde.cli.progress import RequestProgress, together
from openhorde.cli.screen import OPTION_NAMES, escape, messages, output, print_json
from openhorde.client import ALCHEMY, AsyncHorde, HordeError, HordeUnreachable, Look
from openhorde.wire.alchemy import AskedForm
from openhorde.wire.requests import PriceLine

AT_ONCE_MAX = 8
UNAUTHORISED = 401

Pictures = Annotated[
    list[str], typer.Argument(metavar="PICTURE", help="Files or URLs.", show_default=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would cost.")]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a form found in a picture, or why it found nothing."""

    picture: str
    form: str
    request_id: str | None = None
    kudos: float | None = None
    value: Any = None
    failure: str | None = None

    def facts(self) -> dict[str, Any]:
        """For `--json`."""
        if self.failure is not None:
            return {"picture": self.picture, "error": self.failure}
        return {
            "picture": self.picture,
            self.form: self.value,
            "id": self.request_id,
            "kudos": self.kudos,
        }


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was said on the command line."""

    pictures: Sequence[str]
    form: AskedForm
    dry_run: bool
    wait: bool
    as_json: bool
    url: str
    api_key: str


def run_form(
    asked: Asked,
    show: Callable[[list[Seen]], None],
    *,
    keep: Callable[[Seen], Seen] = lambda seen: seen,
) -> None:
    """Ask, and have `show` print what was seen. Ends with exit code 1 if anything failed.

    `keep` may put what cannot be printed elsewhere, and leave word of it.
    """
    if asked.dry_run:
        asyncio.run(_price(asked))
        return
    console = messages()
    looked = asyncio.run(_look(asked, console))
    seen = [one if one.failure is not None else keep(one) for one in looked]
    good = [one for one in seen if one.failure is None]
    if asked.as_json:
        print_json([one.facts() for one in seen])
    elif good:
        show(good)
    for one in seen:
        if one.failure is not None:
            told = one.failure
            told = told if one.picture in told else f"{one.picture}: {told}"
            console.print(f"[bold red]horde:[/] {escape(told)}", soft_wrap=True)
    if len(good) < len(seen):
        raise typer.Exit(1)


async def look_at(
    horde: AsyncHorde,
    pictures: Sequence[str],
    form: AskedForm,
    console: Console,
    *,
    wait: bool = False,
) -> list[Seen]:
    """Have all pictures looked at, some at a time; in their order what was seen in each.

    Raises HordeError only for what would befall every one of them. When interrupted, what is not
    done yet is cancelled.
    """
    looks = [Look() for _ in pictures]
    progress = RequestProgress(console, len(pictures), "looking")
    room = asyncio.Semaphore(AT_ONCE_MAX)

    async def one(number: int, picture: str) -> Seen:
        def hear(look: Look) -> None:
            looks[number] = look
            progress.show(together(looks))

        async with room:
            seen = await _seen(horde, picture, form, wait, hear)
        if seen.failure is not None:
            hear(Look(finished=1, done=True, faulted=True))
        return seen

    with progress.on_screen():
        try:
            # Waits, when interrupted, until every one has cancelled its request.
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(*numbered)) for numbered in enumerate(pictures)]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def _seen(
    horde: AsyncHorde, picture: str, form: AskedForm, wait: bool, hear: Callable[[Look], None]
) -> Seen:
    try:
        queued = await horde.queue_forms(picture, [form], wait_for_workers=wait)
        try:
            async with aclosing(horde.form_results(queued.id, progress=hear)) as results:
                values = [result.expect() async for result in results]
        except asyncio.CancelledError:
            await horde.cancel_quietly(queued.id, ALCHEMY)
            raise
    except HordeError as error:
        if isinstance(error, HordeUnreachable) or error.status == UNAUTHORISED:
            raise
        reason = error.explain({**OPTION_NAMES, "source_image": picture})
        return Seen(picture=picture, form=form.name, failure=reason)
    if not values:
        return Seen(picture=picture, form=form.name, failure="the horde told no result")
    return Seen(
        picture=picture,
        form=form.name,
        request_id=queued.id,
        kudos=queued.kudos,
        value=values[0],
    )


async def _look(asked: Asked, console: Console) -> list[Seen]:
    async with connect(asked.url, asked.api_key) as horde:
        return await look_at(horde, asked.pictures, asked.form, console, wait=asked.wait)


async def _price(asked: Asked) -> None:
    prices = []
    async with connect(asked.url, asked.api_key) as horde:
        for picture in asked.pictures:
            prices.append(await horde.price_forms(picture, [asked.form]))
    total = sum(price.kudos for price in prices)
    lines = [
        PriceLine(label=f"{picture}: {line.label}", kudos=line.kudos)
        for picture, price in zip(asked.pictures, prices, strict=True)
        for line in price.lines or []
    ]
    if asked.as_json:
        print_json({"kudos": total, "lines": lines})
        return
    show_lines(total, lines)
    for price in prices:
        show_wait(price)
        if price.is_possible is False and price.message:
            output().print(f"[yellow]note:[/] {escape(price.message)}", soft_wrap=True)
