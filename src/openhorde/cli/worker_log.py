# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker's events as lines for its owner."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from openhorde.worker.agent.events import Event


class WorkerLog:
    """Writes a line per event to standard error; steps and repeated idling stay unsaid."""

    def __init__(self) -> None:
        self._idle = False

    def __call__(self, event: "Event") -> None:
        """Hear one event."""
        line = self.line(event)
        if line is not None:
            typer.echo(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {line}", err=True)

    def line(self, event: "Event") -> str | None:
        """The event in words, or None when there is nothing new in it."""
        from openhorde.worker.agent import events

        was_idle, self._idle = self._idle, isinstance(event, events.Idle)
        match event:
            case events.Started(models=models):
                return f"ready, offering {', '.join(models)}"
            case events.Popped(ids=ids, model=model, what=what):
                return f"took {len(ids)} of {model}: {what}"
            case events.Delivered(id=job, reward=reward):
                return f"delivered {job}, earned {reward:g} kudos"
            case events.Faulted(id=job, reason=reason, reported=reported):
                return f"could not do {job}: {reason}" + ("" if reported else " (not reported)")
            case events.Undelivered(id=job, reason=reason):
                return f"could not deliver {job}: {reason}"
            case events.Idle(skipped=skipped):
                return None if was_idle else _idle_line(skipped)
            case events.Maintenance(message=message):
                return f"in maintenance: {message}"
            case events.Message(message=message, origin=origin):
                return f"note from {origin}: {message}"
            case events.Trouble(message=message):
                return f"trouble: {message}"
            case events.Draining(in_hand=in_hand, at_once=at_once):
                return f"draining: {'giving up' if at_once else 'finishing'} {in_hand} in hand"
            case events.Stopped(status=status):
                return "stopped" if status == 0 else f"stopped with status {status}"
            case _:
                return None


def _idle_line(skipped: dict[str, int]) -> str:
    counted = [f"{name} {count}" for name, count in skipped.items() if count]
    if not counted:
        return "idle: nothing is waiting"
    return f"idle: waiting requests do not fit this worker ({', '.join(counted)})"
