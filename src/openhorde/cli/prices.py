# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a request would cost and how long it would take, for people."""

from rich.markup import escape

from openhorde.cli.screen import duration_text, kudos_text, output
from openhorde.wire.requests import PriceLine, RequestPriced


def show_price(priced: RequestPriced) -> None:
    """A dry run's answer: the total, its lines, the wait, and what may not come out well."""
    show_lines(priced.kudos, priced.lines or [])
    console = output()
    if priced.eta:
        console.print(_wait(priced), soft_wrap=True)
    for warning in priced.warnings or []:
        console.print(f"[yellow]note:[/] {escape(warning.message)}", soft_wrap=True)


def _wait(priced: RequestPriced) -> str:
    assert priced.eta is not None
    usual, slow = (duration_text(seconds) for seconds in (priced.eta.p50, priced.eta.p90))
    badly = f", {slow} if it goes badly" if slow != usual else ""
    return (
        f"would take about {usual}{badly}; "
        f"workers online that could do it: {priced.workers_fitting}"
    )


def show_lines(kudos: float, lines: list[PriceLine]) -> None:
    """The total of a price, and where it comes from."""
    console = output()
    console.print(f"would cost {kudos_text(kudos)}")
    for line in lines:
        console.print(f"  {line.kudos:>10.2f}  {escape(line.label)}", soft_wrap=True)
