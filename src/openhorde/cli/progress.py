# SPDX-License-Identifier: AGPL-3.0-or-later
"""A progress bar for one request, or several: place in the queue, expected wait, the steps."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from openhorde.cli.screen import about_text, escape
from openhorde.client import Drawing, Look


class RequestProgress:
    """Shows each look, and remembers when the work began and ended. `share` is what is over.

    `count` results are asked for, and `doing` is what workers do until there are.
    """

    def __init__(
        self,
        console: Console,
        count: int,
        doing: str = "drawing",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._count = count
        self._doing = doing
        self._clock = clock
        self._started = clock()
        self._busy_since: float | None = None
        self._done_at: float | None = None
        self._shown = ""
        self.share = 0.0
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

    def show(self, look: Look) -> None:
        """One more look at the request."""
        now = self._clock()
        if self._busy_since is None and (look.processing or look.finished):
            self._busy_since = now
        if look.done or look.faulted:
            self._done_at = now
        self.say(describe(look, self._count, self._doing), steps_text(look, self._count))
        self.share = self._estimate(look, now)
        self._bar.update(self._task, completed=self.share)

    def say(self, text: str, detail: str = "") -> None:
        """What is going on right now; `detail` changes too often to become lines."""
        self._bar.update(self._task, description=escape(text + detail))
        if text != self._shown and not self._console.is_terminal:
            self._console.print(escape(text), soft_wrap=True)
        self._shown = text

    def times(self) -> dict[str, float]:
        """Seconds in the queue and being done, as far as the looks could tell."""
        end = self._done_at if self._done_at is not None else self._clock()
        began = self._busy_since if self._busy_since is not None else end
        return {"queue": began - self._started, self._doing: end - began}

    def _estimate(self, look: Look, now: float) -> float:
        """How much is over: of the steps where they are told, else of the time expected."""
        if look.done:
            return 1.0
        drawings = current(look, self._count)
        stepped = sum(one.step / one.steps for one in drawings if one.steps)
        share = (look.finished + stepped) / self._count
        if share == 0 and look.wait_seconds:
            elapsed = now - self._started
            return elapsed / (elapsed + look.wait_seconds)
        return min(1.0, share)


def together(looks: Collection[Look]) -> Look:
    """Several requests at once, each for one thing, as if they were one."""
    waiting = [look for look in looks if not (look.done or look.faulted or look.processing)]
    return Look(
        queue_position=max((look.queue_position for look in waiting), default=0),
        wait_seconds=max((look.wait_seconds for look in looks), default=0),
        is_possible=all(look.is_possible for look in waiting),
        processing=sum(look.processing for look in looks),
        finished=sum(look.done or look.faulted or look.finished > 0 for look in looks),
        drawings=tuple(one for look in looks for one in look.drawings),
        done=all(look.done or look.faulted for look in looks),
        faulted=all(look.faulted for look in looks),
    )


def current(look: Look, count: int) -> tuple[Drawing, ...]:
    """The jobs that are done now. Those that failed are not told of, but those in their stead."""
    left = max(0, count - look.finished)
    return (
        look.drawings[len(look.drawings) - left :] if left < len(look.drawings) else look.drawings
    )


def describe(look: Look, count: int, doing: str = "drawing") -> str:
    """One look at a request in words."""
    if look.faulted:
        return "failed"
    finished = f"{look.finished} of {count} finished"
    if look.done or look.finished >= count:
        return finished
    drawings = current(look, count)
    told = any(one.steps for one in drawings)
    wait = f", {about_text(look.wait_seconds)} to go"
    wait = wait if look.wait_seconds > 0 and not told else ""
    if look.processing:
        names = {one.worker_name for one in drawings}
        by = f" by {names.pop()}" if len(names) == 1 else ""
        by = f" {len(drawings)} at once" if len(drawings) > 1 and not by else by
        return f"{doing}{by}, {finished}{wait}"
    if not look.is_possible:
        return f"waiting: no worker that is online can take this request, {finished}"
    place = f"place {look.queue_position} in the queue" if look.queue_position else "in the queue"
    return f"{place}, {finished}{wait}"


def steps_text(look: Look, count: int) -> str:
    """How many steps are done of all that is being done, as far as the workers tell."""
    told = [one for one in current(look, count) if one.steps]
    if not told or look.done or look.faulted:
        return ""
    return f", step {sum(one.step for one in told)} of {sum(one.steps for one in told)}"
