# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a worker's owner wants to read besides the agent's own log: earnings, idling, the end."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openhorde.worker.agent.events import Event


class WorkerLog:
    """Hears every event of the worker and logs those that the agent itself does not."""

    def __init__(self) -> None:
        import structlog

        self._log = structlog.get_logger(__name__)
        self._idle: set[str] = set()
        self._in_maintenance: set[str] = set()

    def __call__(self, event: "Event") -> None:
        """Hear one event."""
        entry = self.entry(event)
        if entry is not None:
            text, facts = entry
            self._log.info(text, **facts)

    def entry(self, event: "Event") -> tuple[str, dict[str, Any]] | None:
        """The event as a log entry, or None when there is nothing new in it."""
        from openhorde.worker.agent import events

        match event:
            case events.Popped(kind=kind):
                self._idle.discard(kind)
                self._in_maintenance.discard(kind)
                return None
            case events.Delivered(id=job, reward=reward):
                return "delivered", {"job": job, "kudos": reward}
            case events.Idle(skipped=skipped, kind=kind) if kind not in self._idle:
                self._idle.add(kind)
                self._in_maintenance.discard(kind)
                unfit = {reason: count for reason, count in skipped.items() if count}
                return "idle", {"kind": kind, **({"waiting_but_unfit": unfit} if unfit else {})}
            case events.Maintenance(message=message, kind=kind) if kind not in self._in_maintenance:
                self._idle.discard(kind)
                self._in_maintenance.add(kind)
                return "in maintenance", {"kind": kind, "message": message}
            case events.Stopped(status=status):
                return "stopped", {"status": status}
            case _:
                return None
