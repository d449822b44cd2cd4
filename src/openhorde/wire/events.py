# SPDX-License-Identifier: AGPL-3.0-or-later
"""Events of one request, as `GET generate/events/{id}` streams them (Server-Sent Events).

An event's name is `queued`, `started`, `progress`, `generation` or `done`, its data the JSON of
`QueueEvent`, `StartEvent`, `StepEvent`, `requests.Generation` or `requests.RequestStatus`.
"""

from msgspec import Struct


class QueueEvent(Struct, kw_only=True):
    """Where the request stands. `wait_time` in seconds; `position` 0 once nothing waits."""

    position: int
    wait_time: int
    is_possible: bool


class StartEvent(Struct, kw_only=True, omit_defaults=True):
    """A worker took the job `id`. One that is started for the same picture (counted by `ordinal`,
    from 1) as an earlier job is in the place of that one, which failed."""

    id: str
    worker_name: str
    model: str
    ordinal: int | None = None


class StepEvent(Struct, kw_only=True):
    """The worker of the job `id` did so many of its sampling steps."""

    id: str
    step: int
    steps: int
