# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a request would cost and how long it would take, for people."""

from openhorde.cli.screen import about_text, duration_text, escape, kudos_text, output
from openhorde.wire.requests import Outlook, PriceLine, RequestPriced


def show_price(priced: RequestPriced) -> None:
    """A dry run's answer: the total, its lines, the wait, and what may not come out well."""
    show_lines(priced.kudos, priced.lines or [])
    console = output()
    show_wait(priced)
    for warning in priced.warnings or []:
        console.print(f"[yellow]note:[/] {escape(warning.message)}", soft_wrap=True)


def show_wait(outlook: Outlook) -> None:
    """How long a request would take, if some worker online could do it."""
    if outlook.eta is None:
        return
    usual, slow = (duration_text(seconds) for seconds in (outlook.eta.p50, outlook.eta.p90))
    badly = f", {slow} if it goes badly" if slow != usual else ""
    output().print(
        f"would take {about_text(outlook.eta.p50)}{badly}; "
        f"workers online that could do it: {outlook.workers_fitting}",
        soft_wrap=True,
    )


def show_lines(kudos: float, lines: list[PriceLine]) -> None:
    """The total of a price, and where it comes from."""
    console = output()
    console.print(f"would cost {kudos_text(kudos)}")
    for line in lines:
        console.print(f"  {line.kudos:>10.2f}  {escape(line.label)}", soft_wrap=True)
