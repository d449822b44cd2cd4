# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker tells whoever watches it: the command line, a panel, a test."""

from collections.abc import Callable

from msgspec import Struct, field


class Started(Struct, frozen=True):
    """The engines are open and the worker begins to ask for work."""

    models: list[str]


class Popped(Struct, frozen=True):
    """Jobs came in, all for one picture but for the seed."""

    ids: list[str]
    model: str
    what: str


class Progress(Struct, frozen=True):
    """A running job is so many steps far."""

    id: str
    step: int
    steps: int


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


class Maintenance(Struct, frozen=True):
    """The worker is in maintenance: the horde gives it nothing."""

    message: str


class Message(Struct, frozen=True):
    """A note from the horde's moderators."""

    message: str
    origin: str


class Trouble(Struct, frozen=True):
    """Something the owner should know: a refusal, an absent horde, a dead engine."""

    message: str


class Draining(Struct, frozen=True):
    """No more jobs are asked for; what is in hand is finished, or given up when `at_once`."""

    in_hand: int
    at_once: bool = False


class Stopped(Struct, frozen=True):
    """The end, with the exit status."""

    status: int


Event = (
    Started
    | Popped
    | Progress
    | Delivered
    | Faulted
    | Undelivered
    | Idle
    | Maintenance
    | Message
    | Trouble
    | Draining
    | Stopped
)
Observe = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Observe nothing."""
