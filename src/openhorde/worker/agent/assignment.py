# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was popped, on its way through the worker."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from openhorde.worker.backends.base import Job, Note
from openhorde.worker.settings import KindName

TTL_SECONDS_UNSAID = 150.0
RESERVE_SHARE = 0.1
RESERVE_SECONDS_MAX = 15.0


@dataclass(kw_only=True)
class Assignment:
    """Jobs that one engine does together: `ids` and `uploads` go pairwise, an upload may be None.

    `model` is a model, or the form of an alchemy job. `wire` is the decoded answer of the kind of
    work, or None and `wrong` says why it could not be read; `job` is what an engine is to do, once
    prepared. `asked_at` and `popped_at` are when the call for it began and ended, on a clock of
    seconds; `run_seconds` is how long an engine worked on it, once it has.
    """

    kind: KindName
    ids: list[str]
    uploads: list[str | None]
    model: str
    ttl_seconds: float
    wire: Any = None
    wrong: str | None = None
    job: Job | None = None
    notes: list[Note] = field(default_factory=list)
    popped_at: float = field(default_factory=time.monotonic)
    asked_at: float = field(default_factory=time.monotonic)
    run_seconds: float | None = None

    @property
    def seconds_left(self) -> float:
        """Until the horde gives these jobs up."""
        return self.popped_at + self.ttl_seconds - time.monotonic()

    def lives_until(self, moment: float) -> None:
        """The horde waits until this moment (on time.monotonic), if that is later than before."""
        self.ttl_seconds = max(self.ttl_seconds, moment - self.popped_at)

    @property
    def reserve_seconds(self) -> float:
        """What to keep back from the time to live for one more thing, such as the upload."""
        return min(RESERVE_SECONDS_MAX, self.ttl_seconds * RESERVE_SHARE)

    @property
    def run_seconds_left(self) -> float:
        """Until an engine has to have given up, so that what came of it can still be told."""
        return self.seconds_left - 2 * self.reserve_seconds


class Unfit(Exception):
    """A job that cannot be handed to an engine; `notes` tell the requester why."""

    def __init__(self, reason: str, notes: list[Note] | None = None) -> None:
        super().__init__(reason)
        self.notes = notes or []


async def sleep_within(assignment: Assignment, seconds: float) -> bool:
    """Sleep, but not past the time to live; whether any of it is left."""
    await asyncio.sleep(max(0.0, min(seconds, assignment.seconds_left)))
    return assignment.seconds_left > 0
