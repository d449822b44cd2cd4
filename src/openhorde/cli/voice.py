# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a long command is doing right now: a spinner on a terminal, plain lines elsewhere."""

from rich.console import Console
from rich.status import Status

from openhorde.cli.screen import escape


class Voice:
    """`say` tells the present step, `note` something that is to stay on the screen."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None

    def spin(self) -> None:
        """From here on steps replace each other beside a spinner, if this is a terminal."""
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()

    def rest(self) -> None:
        """Take the spinner away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def say(self, step: str) -> None:
        """The present step."""
        if self._status is not None:
            self._status.update(escape(step))
        else:
            self.note(step)

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(escape(text), soft_wrap=True)
