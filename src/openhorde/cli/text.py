# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde text`: write a text."""

import asyncio
import sys
import time
from contextlib import aclosing
from typing import Annotated, Any

import typer
from rich.console import Console

from openhorde.cli.generated import setting, with_settings
from openhorde.cli.options import ANONYMOUS_KEY, DEFAULT_URL, ApiKey, AsJson, Url, Wait, connect
from openhorde.cli.prices import show_price
from openhorde.cli.progress import RequestProgress
from openhorde.cli.screen import escape, kudos_text, messages, print_json, tell
from openhorde.client import TEXT, AsyncHorde, Text

WRITING, SAMPLING, HORDE = "Text", "Sampling", "Horde"
BETWEEN = "\n---\n"


SETTINGS = [
    setting("max_length", int, "--max-length", WRITING, "Most tokens to write, 16 to 4096.", "80"),
    setting(
        "max_context_length",
        int,
        "--context",
        WRITING,
        "Most tokens in all, 80 to 1048576.",
        "2048",
    ),
    setting("n", int, "--number -n", WRITING, "How many texts, 1 to 20.", "1"),
    setting(
        "models", list[str], "--model", WRITING, "Model that may write it; repeatable.", "any model"
    ),
    setting("stop_sequence", list[str], "--stop", WRITING, "Where to stop; repeatable."),
    setting("temperature", float, "--temperature", SAMPLING, "0 to 5; higher is wilder."),
    setting("top_p", float, "--top-p", SAMPLING, "0.001 to 1."),
    setting("top_k", int, "--top-k", SAMPLING, "0 to 200."),
    setting("min_p", float, "--min-p", SAMPLING, "0 to 1."),
    setting("rep_pen", float, "--rep-pen", SAMPLING, "Repetition penalty, 1 to 3."),
    setting("trusted_workers", bool, "--trusted", HORDE, "Only workers that are trusted."),
    setting(
        "allow_downgrade",
        bool,
        "--allow-downgrade",
        HORDE,
        "Let a busy horde shorten the text rather than refuse it.",
    ),
]


@with_settings(SETTINGS)
def text(
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="What to go on from; - reads standard input.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would cost.")
    ] = False,
    wait: Wait = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = ANONYMOUS_KEY,
    **settings: Any,
) -> None:
    """Write a text that continues a prompt. Only the text goes to standard output."""
    if prompt == "-":
        prompt = sys.stdin.read()
    settings["models"] = settings["models"] or None
    settings["stop_sequence"] = settings["stop_sequence"] or None
    if dry_run:
        asyncio.run(_price(url, api_key, prompt, settings, as_json))
    else:
        settings["wait_for_workers"] = wait
        asyncio.run(_write(url, api_key, prompt, settings, as_json))


async def _write(
    url: str, api_key: str, prompt: str, settings: dict[str, Any], as_json: bool
) -> None:
    console = messages()
    async with connect(url, api_key) as horde:
        texts = await write(horde, prompt, settings, console)
    if as_json:
        print_json({"prompt": prompt, "texts": texts})
        return
    typer.echo(BETWEEN.join(one.text for one in texts))


async def write(
    horde: AsyncHorde, prompt: str, settings: dict[str, Any], console: Console
) -> list[Text]:
    """Have texts written. `console` hears of progress, notes, the cost and the writers.

    When interrupted, what is not written yet is cancelled and so not charged.
    """
    progress = RequestProgress(console, settings.get("n") or 1, "writing")
    began = time.monotonic()
    with progress.on_screen():
        queued = await horde.generate_text(prompt, **settings)
        try:
            tell((warning.message for warning in queued.warnings), console)
            async with aclosing(horde.watch_text(queued.id)) as looks:
                async for look in looks:
                    progress.show(look)
            texts = await horde.texts(queued, look.status)
        except asyncio.CancelledError:
            await horde.cancel_quietly(queued.id, TEXT)
            raise
    for one in texts:
        note = " [yellow](censored by the worker)[/]" if one.censored else ""
        console.print(
            f"written by {escape(one.worker_name)} with {escape(one.model)}{note}", soft_wrap=True
        )
    tell(dict.fromkeys(said for one in texts for said in one.said), console)
    cost = sum(one.kudos for one in texts)
    console.print(f"cost {kudos_text(cost)}, took {time.monotonic() - began:.1f} s")
    return texts


async def _price(
    url: str, api_key: str, prompt: str, settings: dict[str, Any], as_json: bool
) -> None:
    async with connect(url, api_key) as horde:
        priced = await horde.price_text(prompt, **settings)
    if as_json:
        print_json(priced)
    else:
        show_price(priced)
