# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a caller sees of a request while waiting, made from events or from checks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec

from openhorde.client.kinds import IMAGE, Asked, Kind, Status
from openhorde.incoming.texts import decode_json
from openhorde.wire.alchemy import AlchemyStatus, FormStatus
from openhorde.wire.events import QueueEvent, StartEvent, StepEvent
from openhorde.wire.requests import RequestCheck

Data = TypeVar("Data")
OPEN = ("waiting", "processing")


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One job at a worker, of whatever kind. `steps` is 0 until the worker tells how many there
    are."""

    id: str
    worker_name: str
    model: str
    step: int = 0
    steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Look:
    """How far a request is.

    `queue_position` is 0 once nothing is known to wait, `wait_seconds` what the horde expected
    when it last said so. `processing` jobs are being done; `drawings` says by whom and how far,
    as long as the horde streams events. Of forms, `finished` counts the faulted ones too.
    `status` is what has come of it, if the horde told along with this look; else it has to be
    asked for. Two looks that differ in nothing else are alike.
    """

    queue_position: int = 0
    wait_seconds: int = 0
    is_possible: bool = True
    processing: int = 0
    finished: int = 0
    drawings: tuple[Drawing, ...] = ()
    done: bool = False
    faulted: bool = False
    status: Status | None = field(default=None, compare=False)


class _Finished(msgspec.Struct):
    """What results of all kinds have in common: which job has ended."""

    id: str


class Misunderstood(Exception):
    """The horde says that the request is done, but not in a way this client understands."""


class View:
    """Puts the looks together. The same news twice, as after a broken line, changes nothing."""

    def __init__(self, kind: Kind[Any, Any] = IMAGE) -> None:
        self.look: Look | None = None
        self._kind = kind
        self._drawings: dict[str, Drawing] = {}
        self._places: dict[int, str] = {}
        self._replaced: set[str] = set()
        self._finished: set[str] = set()

    def checked(self, answer: Asked) -> Look:
        """The look that an answer to the question how far it is gives."""
        if isinstance(answer, AlchemyStatus):
            self.look = look_at_forms(answer)
        else:
            self.look = _look_at_jobs(answer, self._kind)
        return self.look

    def heard(self, name: str, data: str) -> bool:
        """Take an event in; whether it was one that this client understands.

        Raises Misunderstood for a last event that it does not.
        """
        before = self.look or Look()
        match name:
            case "queued":
                after = self._queued(before, data)
            case "started":
                after = self._started(before, data)
            case "progress":
                after = self._stepped(before, data)
            case "generation":
                after = self._finished_one(before, data)
            case "done":
                after = self._done(data)
            case _:
                after = None
        if after is not None:
            self.look = after
        return after is not None

    def _queued(self, before: Look, data: str) -> Look | None:
        event = _read(data, QueueEvent)
        if event is None:
            return None
        return replace(
            before,
            queue_position=event.position,
            wait_seconds=event.wait_time,
            is_possible=event.is_possible,
        )

    def _started(self, before: Look, data: str) -> Look | None:
        event = _read(data, StartEvent)
        if event is None:
            return None
        known = self._drawings.get(event.id)
        over = event.id in self._finished or event.id in self._replaced
        if over or (known and known.worker_name == event.worker_name):
            return before
        if event.ordinal is not None:
            failed = self._places.get(event.ordinal)
            if failed is not None and failed != event.id:
                self._drawings.pop(failed, None)
                self._replaced.add(failed)
            self._places[event.ordinal] = event.id
        self._drawings[event.id] = Drawing(
            id=event.id, worker_name=event.worker_name, model=event.model
        )
        # The others that wait, if any, are told of by the next `queued`.
        return self._with_drawings(replace(before, queue_position=0))

    def _stepped(self, before: Look, data: str) -> Look | None:
        event = _read(data, StepEvent)
        if event is None:
            return None
        known = self._drawings.get(event.id)
        if known is None or event.step <= known.step:
            return before
        self._drawings[event.id] = replace(known, step=event.step, steps=event.steps)
        return self._with_drawings(before)

    def _finished_one(self, before: Look, data: str) -> Look | None:
        event = _read(data, _Finished)
        if event is None:
            return None
        self._drawings.pop(event.id, None)
        self._finished.add(event.id)
        return self._with_drawings(before)

    def _done(self, data: str) -> Look:
        status = _read(data, self._kind.status_type)
        if status is None:
            raise Misunderstood
        return self.checked(status)

    def _with_drawings(self, before: Look) -> Look:
        return replace(
            before,
            processing=len(self._drawings),
            drawings=tuple(self._drawings.values()),
            finished=len(self._finished),
        )


def look_at_forms(status: AlchemyStatus) -> Look:
    """The look that the states of forms give: alchemy does not tell of place and wait."""
    states = [form.state for form in status.forms] or [status.state]
    settled = sum(state not in OPEN for state in states)
    return Look(
        processing=states.count("processing"),
        finished=settled,
        done=settled == len(states),
        faulted=states.count("faulted") == len(states),
        status=status,
    )


def settled_forms(status: AlchemyStatus) -> Sequence[FormStatus]:
    """The forms that are over, however they ended."""
    return [form for form in status.forms if form.state not in OPEN]


def _look_at_jobs(answer: RequestCheck, kind: Kind[Any, Any]) -> Look:
    return Look(
        queue_position=answer.queue_position,
        wait_seconds=answer.wait_time,
        is_possible=answer.is_possible,
        processing=answer.processing,
        finished=answer.finished,
        done=answer.done,
        faulted=answer.faulted,
        status=answer if isinstance(answer, kind.status_type) else None,
    )


def _read(data: str, kind: type[Data]) -> Data | None:
    try:
        return decode_json(data.encode(errors="replace"), kind)
    except msgspec.DecodeError:
        return None
