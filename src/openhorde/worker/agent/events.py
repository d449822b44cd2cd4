# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker tells whoever watches it: the command line, a panel, a test."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct, field

from openhorde.worker.backends.base import InMemory
from openhorde.worker.settings import KindName

EngineState = Literal["opening", "open", "lost"]


class Started(Struct, frozen=True):
    """The first engine is open and the worker begins to ask for work, of these models and forms."""

    models: list[str]


class EngineChanged(Struct, frozen=True):
    """An engine came up, fell, or is lost for good; `offers` has models and forms by kind of work.

    Engines of a backend are numbered from 0. `reason` says why it fell or is lost.
    """

    backend: str
    number: int
    state: EngineState
    offers: dict[str, list[str]] = field(default_factory=dict)
    reason: str = ""


class MemoryChanged(Struct, frozen=True):
    """An engine has other things in memory than before; the last used first."""

    backend: str
    number: int
    in_memory: list[InMemory]


class Popped(Struct, frozen=True):
    """Jobs came in that one engine will do together, such as pictures alike but for the seed."""

    ids: list[str]
    model: str
    what: str
    kind: KindName = "image"


class Running(Struct, frozen=True):
    """An engine has begun these jobs, which it does together."""

    ids: list[str]
    backend: str
    number: int


class Progress(Struct, frozen=True):
    """A running job is so many steps far."""

    id: str
    step: int
    steps: int


class Made(Struct, frozen=True):
    """An engine has done its part for these jobs, well or not; now they are delivered."""

    ids: list[str]


class Delivered(Struct, frozen=True):
    """A result was taken in, and this is the reward in kudos."""

    id: str
    reward: float


class Faulted(Struct, frozen=True):
    """A job was not done; `reported` tells whether the horde could be told."""

    id: str
    reason: str
    reported: bool = True


class Undelivered(Struct, frozen=True):
    """A result was made, but the horde did not take it."""

    id: str
    reason: str


class Idle(Struct, frozen=True):
    """Nothing to do. `skipped` counts the waiting requests the worker could not be given."""

    skipped: dict[str, int] = field(default_factory=dict)
    kind: KindName = "image"


class Maintenance(Struct, frozen=True):
    """The worker is in maintenance: the horde gives it nothing of this kind."""

    message: str
    kind: KindName = "image"


class Message(Struct, frozen=True):
    """A note from the horde's moderators."""

    message: str
    origin: str


class Trouble(Struct, frozen=True):
    """Something the owner should know: a refusal, an absent horde, a dead engine.

    `kind` is empty when it is not about one kind of work.
    """

    message: str
    kind: KindName | Literal[""] = ""


class Unanswered(Struct, frozen=True):
    """The horde is away, so this kind of work waits. That it is away is told by a Trouble, once."""

    message: str
    kind: KindName


class Back(Struct, frozen=True):
    """The horde answers again, after so long."""

    horde_url: str
    away_seconds: float


class Ended(Struct, frozen=True):
    """No more work of this kind is asked for, although the worker was not stopped."""

    kind: KindName
    reason: str


class Draining(Struct, frozen=True):
    """No more jobs are asked for; what is in hand is finished, or given up when `at_once`."""

    in_hand: int
    at_once: bool = False


class Stopped(Struct, frozen=True):
    """The end, with the exit status."""

    status: int


Event = (
    Started
    | EngineChanged
    | MemoryChanged
    | Popped
    | Running
    | Progress
    | Made
    | Delivered
    | Faulted
    | Undelivered
    | Idle
    | Maintenance
    | Message
    | Trouble
    | Unanswered
    | Back
    | Ended
    | Draining
    | Stopped
)
Observe = Callable[[Event], None]


def engine_name(backend: str, number: int) -> str:
    """How people read an engine's name; they count from one."""
    return f"{backend} {number + 1}"


def ignore(event: Event) -> None:
    """Observe nothing."""
