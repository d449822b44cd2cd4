# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `horde worker check` found out, for people."""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from openhorde.cli.screen import escape

if TYPE_CHECKING:
    from openhorde.worker.agent.check import Check, KindCheck

NAMES_SHOWN = 12
WELL, WRONG, NOTE = "[green]ok[/]", "[bold red]x[/]", "[yellow]![/]"


def show_check(check: "Check", console: Console) -> None:
    """Print it: the horde, the engines, each kind of work, and what stands in the way."""
    who = f", as {check.user}" if check.user else ""
    console.print(f"[bold]{escape(check.horde_url)}[/]{escape(who)}", soft_wrap=True)
    console.print(_engines(check))
    for kind in check.kinds:
        _show_kind(kind, console)
    for note in check.notes:
        console.print(f"{NOTE} {escape(note)}", soft_wrap=True)
    for obstacle in check.obstacles:
        console.print(f"{WRONG} {escape(obstacle)}", soft_wrap=True)
    if check.well:
        console.print(f"{WELL} nothing stands in the way")


def _engines(check: "Check") -> Table:
    table = Table("engine", "kind of work", "offers", box=None, header_style="dim")
    for engine in check.engines:
        rows: list[tuple[str, Any]] = [
            (kind, _listed(names)) for kind, names in engine.offers.items()
        ]
        for kind, offers in rows or [("", f"[red]{escape(engine.reason or 'nothing')}[/]")]:
            table.add_row(engine.backend, kind, offers)
    return table


def _show_kind(kind: "KindCheck", console: Console) -> None:
    from openhorde.worker.boot import skipped_sentences

    names = kind.pop.get("models") or kind.pop.get("forms") or []
    console.print(f"\n[bold]{kind.kind}[/] as {escape(kind.name)}: {_listed(names)}")
    for sentence in kind.narrowing:
        console.print(f"   {escape(sentence)}", style="dim", soft_wrap=True)
    for sentence in skipped_sentences(kind.skipped):
        console.print(f"{NOTE} {escape(sentence)}", soft_wrap=True)
    if kind.done:
        console.print(f"{WELL} {escape(kind.done)}", soft_wrap=True)
    elif kind.asked and not kind.skipped:
        console.print("   asked for work: the horde had none for this kind", style="dim")
    for obstacle in kind.obstacles:
        console.print(f"{WRONG} {escape(obstacle)}", soft_wrap=True)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return escape(shown + more)
