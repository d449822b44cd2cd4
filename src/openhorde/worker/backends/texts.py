# SPDX-License-Identifier: AGPL-3.0-or-later
"""A text as it is written: piece by piece, to the first stop sequence, with a heartbeat each."""

import random
from collections.abc import Callable, Iterable

from openhorde.incoming.texts import mended
from openhorde.worker.backends.base import (
    Artifact,
    Cancelled,
    Capabilities,
    ReportProgress,
    TextJob,
)

SEEDS = 2**31
"""Engines take seeds of different sizes; all of them take this many."""
PROMPT_TOKENS_MIN = 16
"""So many of a prompt's last tokens are always read, if half of the context has room for them."""


def capabilities(models: Iterable[str], context_tokens: int) -> Capabilities:
    """What an engine offers that only writes. A prompt has one token at least."""
    return Capabilities(
        text_models=list(models),
        tokens_max=max(context_tokens - 1, 0),
        context_tokens_max=context_tokens,
    )


def prompt_room(context_tokens: int, tokens_max: int) -> int:
    """How many tokens of a prompt are read when at most `tokens_max` are written.

    An answer that would fill the context is shortened instead, so that there is a prompt to go on
    with.
    """
    return max(context_tokens - tokens_max, min(PROMPT_TOKENS_MIN, context_tokens // 2), 1)


def stop_sequences(job: TextJob) -> list[str]:
    """Where the text is to end; at the end of its first line too, if it is to have one line."""
    asked = [*job.stop_sequences, *(job.sampling.get("stop_sequence") or [])]
    if job.sampling.get("singleline"):
        asked.append("\n")
    return list(dict.fromkeys(one for one in asked if one))


class Writing:
    """What an engine has written of a job so far. `seed` is what to give the engine."""

    def __init__(self, job: TextJob, report: ReportProgress, cancelled: Callable[[], bool]) -> None:
        self._job = job
        self._report = report
        self._cancelled = cancelled
        self._pieces: list[str] = []
        self._stops = stop_sequences(job)
        self._tail = ""
        self._tail_characters = max(map(len, self._stops), default=1) - 1
        self._seed = job.seed if job.seed is not None else random.randrange(SEEDS)

    @property
    def seed(self) -> int:
        """The job's seed, or one drawn for it, in the range that all engines take."""
        return self._seed % SEEDS

    @property
    def stops(self) -> list[str]:
        """The sequences at which the text ends; they are no part of it."""
        return self._stops

    def add(self, piece: str) -> bool:
        """Take what comes next; True when the text is at its end, whatever the engine thinks."""
        if not piece:
            return False
        self._pieces.append(piece)
        self._report(min(len(self._pieces), self._job.tokens_max), self._job.tokens_max)
        # Only here can a stop sequence end that has not been found before.
        newest = self._tail + piece
        ends = [newest.find(stop) for stop in self._stops]
        found = [end for end in ends if end >= 0]
        if not found:
            self._tail = newest[max(0, len(newest) - self._tail_characters) :]
            return False
        text = "".join(self._pieces)
        self._pieces = [text[: len(text) - len(newest) + min(found)]]
        return True

    def pulse(self) -> None:
        """Raises Cancelled once nobody waits for the text any more."""
        if self._cancelled():
            raise Cancelled

    def artifact(self) -> Artifact:
        """The text, as a result."""
        return Artifact(
            content=mended("".join(self._pieces)).encode(),
            media_type="text/plain",
            seed=self._seed,
        )
