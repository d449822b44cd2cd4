# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much of a request's story somebody has heard, written down so that they can come back to it.

A mark says of each job asked for how often a worker has taken it (a job that fails is tried again)
and whether it is done: `201-100` for three jobs, `-end` behind it once nothing more will come. No
clock and no stored log is needed: every server makes the same marks from the same rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_END = "end"
ATTEMPTS_MAX = len(_DIGITS) - 1


@dataclass(frozen=True, slots=True)
class Mark:
    """Per job asked for: how many attempts have `started`, how many have `finished` (0 or 1)."""

    started: tuple[int, ...]
    finished: tuple[int, ...]
    ended: bool = False

    def __str__(self) -> str:
        text = f"{_written(self.started)}-{_written(self.finished)}"
        return f"{text}-{_END}" if self.ended else text

    def within(self, current: "Mark") -> "Mark":
        """The same, but no further than `current`: a job that was taken back may start again."""
        return Mark(
            tuple(map(min, self.started, current.started)),
            tuple(map(min, self.finished, current.finished)),
            self.ended and current.ended,
        )

    def starting(self, ordinal: int) -> "Mark":
        """The mark after one more attempt at a job (counted from 1)."""
        return Mark(_plus_one(self.started, ordinal), self.finished)

    def finishing(self, ordinal: int) -> "Mark":
        """The mark after a job is done."""
        return Mark(self.started, _plus_one(self.finished, ordinal))

    def ending(self) -> "Mark":
        """The mark after all is over."""
        return Mark(self.started, self.finished, ended=True)


def nothing(asked: int) -> Mark:
    """The mark of who has heard nothing yet."""
    return Mark((0,) * asked, (0,) * asked)


def mark(asked: int, taken: Iterable[tuple[int, bool]], *, ended: bool) -> Mark:
    """The mark of a request that asked for so many jobs. `taken` tells of each attempt at one its
    ordinal (from 1) and whether it is done."""
    started, finished = [0] * asked, [0] * asked
    for ordinal, done in taken:
        if 1 <= ordinal <= asked:
            started[ordinal - 1] = min(started[ordinal - 1] + 1, ATTEMPTS_MAX)
            finished[ordinal - 1] |= done
    return Mark(tuple(started), tuple(finished), ended)


def read(text: str, asked: int) -> Mark | None:
    """The mark that was written, or None for what is no mark of such a request."""
    parts = text.split("-")
    ended = len(parts) == 3 and parts[2] == _END
    if len(parts) != 2 and not ended:
        return None
    if any(len(part) != asked or not set(part) <= set(_DIGITS) for part in parts[:2]):
        return None
    started, finished = (tuple(_DIGITS.index(each) for each in part) for part in parts[:2])
    return Mark(started, finished, ended)


def _written(counts: Sequence[int]) -> str:
    return "".join(_DIGITS[count] for count in counts)


def _plus_one(counts: tuple[int, ...], ordinal: int) -> tuple[int, ...]:
    place = ordinal - 1
    return (*counts[:place], counts[place] + 1, *counts[place + 1 :])
