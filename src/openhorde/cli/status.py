# SPDX-License-Identifier: AGPL-3.0-or-later
"""`horde status`: how a horde is doing."""

import asyncio
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from openhorde.cli.options import ANONYMOUS_KEY, DEFAULT_URL, ApiKey, AsJson, Url, connect
from openhorde.cli.screen import duration_text, escape, number_text, output, print_json
from openhorde.wire.status import ActiveModel, Heartbeat, Performance
from openhorde.wire.workers import WorkerDetails

UNITS = {"image": "megapixelsteps", "text": "tokens"}
NAMES_MAX = 3


def status(
    url: Url = DEFAULT_URL, api_key: ApiKey = ANONYMOUS_KEY, as_json: AsJson = False
) -> None:
    """Show whether a horde is alive, its queues, the models served and the workers online."""
    asyncio.run(_status(url, api_key, as_json))


async def _status(url: str, api_key: str, as_json: bool) -> None:
    async with connect(url, api_key) as horde:
        heartbeat, performance, drawing, writing, workers = await asyncio.gather(
            horde.heartbeat(),
            horde.performance(),
            horde.models("image"),
            horde.models("text"),
            horde.workers(),
        )
        models = [*drawing, *writing]
        address = horde.url
    if as_json:
        print_json(
            {
                "url": address,
                "heartbeat": heartbeat,
                "performance": performance,
                "models": models,
                "workers": workers,
            }
        )
        return
    console = output()
    _show_heartbeat(console, address, heartbeat, performance)
    _show_models(console, models)
    _show_workers(console, workers)


def _show_heartbeat(
    console: Console, address: str, heartbeat: Heartbeat, performance: Performance
) -> None:
    colour = "green" if heartbeat.message == "OK" else "red"
    console.print(
        f"[bold]{escape(address)}[/]  [{colour}]{heartbeat.message}[/]  "
        f"version {escape(heartbeat.version)}, database {heartbeat.db_connection}"
    )
    rows = (
        (
            "pictures",
            performance.queued_requests,
            f"{performance.queued_megapixelsteps:g} megapixelsteps",
            f"{performance.past_minute_megapixelsteps:g} megapixelsteps",
            performance.worker_count,
            performance.thread_count,
        ),
        (
            "texts",
            performance.queued_text_requests,
            f"{performance.queued_tokens:g} tokens",
            f"{performance.past_minute_tokens:g} tokens",
            performance.text_worker_count,
            performance.text_thread_count,
        ),
        (
            "forms",
            f"{performance.queued_forms:g}",
            "",
            "",
            performance.interrogator_count,
            performance.interrogator_thread_count,
        ),
    )
    headings = ("work", "queued", "that is", "done in a minute", "workers", "threads")
    _show(console, "Work", headings, rows)


def _show_models(console: Console, models: list[ActiveModel]) -> None:
    rows = (
        (
            one.name,
            one.type,
            one.count,
            f"{number_text(one.queued)} {UNITS[one.type]}",
            f"{one.jobs:g}",
            # Where nothing is queued, hordes tell a number that stands for none.
            duration_text(one.eta) if one.queued else "none",
        )
        for one in sorted(models, key=lambda one: (-one.count, one.name))
    )
    _show(console, "Models", ("model", "kind", "threads", "queued", "jobs", "wait"), rows)


def _show_workers(console: Console, workers: list[WorkerDetails]) -> None:
    rows = (
        (
            one.name,
            one.type,
            "maintenance" if one.maintenance_mode else "online" if one.online else "away",
            _some(one.forms or [] if one.type == "interrogation" else one.models),
            one.performance.replace(" per second", "/s"),
            one.requests_fulfilled,
        )
        for one in sorted(workers, key=lambda one: (one.name, one.type))
    )
    _show(
        console,
        "Workers",
        ("worker", "kind", "state", "models or forms", "speed", "done"),
        rows,
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMES_MAX]) + (" ..." if len(names) > NAMES_MAX else "")


def _show(
    console: Console, title: str, headings: Iterable[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    table = Table(title=title, title_justify="left", padding=(0, 0, 0, 1))
    for heading in headings:
        # A long name goes on in the next line rather than being cut.
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    if table.row_count:
        console.print(table)
    else:
        console.print(f"{title}: none online")
