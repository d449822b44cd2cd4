# SPDX-License-Identifier: AGPL-3.0-or-later
"""A progress bar for one request: place in the queue, expected wait, pictures finished."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from openhorde.cli.screen import duration_text
from openhorde.wire.requests import RequestCheck


class RequestProgress:
    """Shows each check, and remembers when drawing began and ended."""

    def __init__(
        self, console: Console, pictures: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._pictures = pictures
        self._clock = clock
        self._started = clock()
        self._drawing_since: float | None = None
        self._done_at: float | None = None
        self._shown = ""
        self._fraction = 0.0
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("handing the request in", total=1.0)

    @contextmanager
    def on_screen(self) -> Iterator[None]:
        """Draw the bar meanwhile; without a terminal, each change becomes a line instead."""
        if not self._console.is_terminal:
            yield
            return
        with self._bar:
            yield

    def show(self, check: RequestCheck) -> None:
        """One more look at the request."""
        now = self._clock()
        if self._drawing_since is None and (check.processing or check.finished):
            self._drawing_since = now
        if check.done or check.faulted:
            self._done_at = now
        self.say(describe(check, self._pictures))
        self._fraction = max(self._fraction, self._estimate(check, now))
        self._bar.update(self._task, completed=self._fraction)

    def say(self, text: str) -> None:
        """What is going on right now."""
        self._bar.update(self._task, description=escape(text))
        if text != self._shown and not self._console.is_terminal:
            self._console.print(escape(text), soft_wrap=True)
        self._shown = text

    def times(self) -> dict[str, float]:
        """Seconds in the queue and being drawn, as far as the checks could tell."""
        end = self._done_at if self._done_at is not None else self._clock()
        drawing = self._drawing_since if self._drawing_since is not None else end
        return {"queue": drawing - self._started, "drawing": end - drawing}

    def _estimate(self, check: RequestCheck, now: float) -> float:
        """How much is over: by pictures finished, or by the time the horde still expects."""
        if check.done:
            return 1.0
        elapsed = now - self._started
        expected = elapsed + check.wait_time
        return max(check.finished / self._pictures, elapsed / expected if expected else 0.0)


def describe(check: RequestCheck, pictures: int) -> str:
    """One look at a request in words."""
    if check.faulted:
        return "failed"
    if check.done:
        return f"{check.finished} of {pictures} finished"
    wait = f", about {duration_text(check.wait_time)} to go" if check.wait_time > 0 else ""
    finished = f"{check.finished} of {pictures} finished"
    if check.processing:
        return f"drawing, {finished}{wait}"
    if not check.is_possible:
        return f"waiting: no worker that is online can take this request, {finished}"
    place = f"place {check.queue_position} in the queue" if check.queue_position else "in the queue"
    return f"{place}, {finished}{wait}"
