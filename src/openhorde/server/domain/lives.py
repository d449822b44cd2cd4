# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one life of a job, and what a request's life follows from (rules 1.6, 1.7).

```
              pop             deliver
  waiting ----------> running ----------> done
     ^------- return ----|
     |                   |--- fault ----> faulted   (and, while retries last, a new waiting job)
     |--- cancel ---> cancelled
     |--- expire ---> expired
```

The statements in `store/sql` make these moves by compare-and-set; a test holds them against MOVES.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from openhorde.server.domain.refusals import Refusal

REQUEST_TTL_SECONDS: Final = 1200
"""A request ends when nothing has happened to it for so long, and is forgotten as long after."""

PROLONGED_SHARE: Final = 0.5
"""A job that gets further has this part of its life from then on, if it had less."""
STRIDE_SHARE: Final = 0.125
"""The least part of its life by which a job is prolonged: this bounds how often."""
LIVES_MAX: Final = 4
"""No job lasts longer than so many of its lives, however it gets on."""

LATE_SHARE: Final = 0.25
"""A job that should have been done takes, as far as anybody knows, this part of the time again that
it has taken: never nothing."""


class Faults(Struct, frozen=True):
    """When it is enough: `most` faulted jobs make a request faulted. Where jobs stand `apart`, as
    many at one job (the attempts at it) end this one alone, and the others go on."""

    most: int
    apart: bool = False


FAULTS_MAX: Final = 3
TOGETHER: Final = Faults(FAULTS_MAX)
"""The rule of most kinds."""


class State(StrEnum):
    """Where a job is. All but waiting and running are final."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAULTED = "faulted"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Event(StrEnum):
    """What can happen to a job. One whose time is over gets `fault`; `return` undoes a pop that the
    worker never heard of."""

    POP = "pop"
    DELIVER = "deliver"
    FAULT = "fault"
    CANCEL = "cancel"
    EXPIRE = "expire"
    RETURN = "return"


MOVES: Final[dict[tuple[State, Event], State]] = {
    (State.WAITING, Event.POP): State.RUNNING,
    (State.WAITING, Event.CANCEL): State.CANCELLED,
    (State.WAITING, Event.EXPIRE): State.EXPIRED,
    (State.RUNNING, Event.DELIVER): State.DONE,
    (State.RUNNING, Event.FAULT): State.FAULTED,
    (State.RUNNING, Event.RETURN): State.WAITING,
}
FINAL: Final = frozenset(State) - {state for state, _ in MOVES}


class RequestCounts(Struct, frozen=True, kw_only=True):
    """How many jobs a request asked for and how many are where now."""

    asked: int
    waiting: int = 0
    running: int = 0
    done: int = 0
    faulted: int = 0


class Progress(Struct, frozen=True):
    """The numbers of a check (rules 1.6), all from the same counts."""

    finished: int
    processing: int
    restarted: int
    waiting: int
    done: bool
    faulted: bool


def move(state: State, event: Event) -> State:
    """The state after the event.

    Raises `Refusal`: DuplicateGen for a job that is done, AbortedGen for one given up, and
    InvalidJobID for a delivery of a job that nobody works on.
    """
    after = MOVES.get((state, event))
    if after is not None:
        return after
    if state is State.DONE:
        raise Refusal("DuplicateGen", state=state.value)
    if state in FINAL:
        raise Refusal("AbortedGen", state=state.value)
    raise Refusal("InvalidJobID", state=state.value)


def prolonged(
    *, popped_at: datetime, deadline_at: datetime, life_seconds: int, now: datetime
) -> datetime | None:
    """The new deadline of a job that has just got further, or None if it keeps the one it has:
    because that is late enough, is over, or cannot be put off any more."""
    life = timedelta(seconds=life_seconds)
    later = min(now + PROLONGED_SHARE * life, popped_at + LIVES_MAX * life)
    is_due = now < deadline_at and later - deadline_at >= STRIDE_SHARE * life
    return later if is_due else None


def is_faulted(counts: RequestCounts, rule: Faults = TOGETHER) -> bool:
    """Whether too many of the request's jobs failed; where they stand apart: all of them."""
    if rule.apart:
        return _is_idle(counts) and not counts.done and counts.faulted >= rule.most
    return counts.faulted >= rule.most


def is_done(counts: RequestCounts, rule: Faults = TOGETHER) -> bool:
    """Whether nothing more will come: faulted, or nothing waits and nobody works on it."""
    return is_faulted(counts, rule) or _is_idle(counts)


def _is_idle(counts: RequestCounts) -> bool:
    return counts.waiting <= 0 and counts.running <= 0


def check(counts: RequestCounts, rule: Faults = TOGETHER) -> Progress:
    """What a client hears about the request's jobs."""
    left = counts.asked - counts.running - counts.done
    return Progress(
        finished=counts.done,
        processing=counts.running,
        restarted=counts.faulted,
        waiting=min(max(counts.waiting, 0), max(left, 0)),
        done=is_done(counts, rule),
        faulted=is_faulted(counts, rule),
    )


def requeues(
    faults: int, rule: Faults = TOGETHER, *, wanted: bool = True, of_request: bool = False
) -> bool:
    """Whether a job that has just faulted is replaced by a new waiting one.

    `faults` of the request have faulted, or where its jobs stand apart, so many attempts at this
    one; this one counts. It is not replaced when that is the last fault that can be borne, when the
    fault is the request's (`faults.py`), or when nobody wants it any more.
    """
    return wanted and not of_request and faults < rule.most


def wait_seconds(
    *,
    things_ahead: int,
    mean_speed: float,
    active_threads: int,
    jobs_ahead: int,
    remaining_running_seconds: float,
    divisor: int,
) -> int:
    """How long until the request is done (rules 1.6).

    `things_ahead` and `jobs_ahead` include its own waiting ones; `mean_speed` is things a second of
    one thread; `remaining_running_seconds` is the largest of its running jobs. `divisor` is the
    kind's: an unknown speed counts as one shown unit a second.
    """
    rate = mean_speed * min(active_threads, jobs_ahead)
    return round(things_ahead / (rate if rate > 0 else divisor) + remaining_running_seconds)
