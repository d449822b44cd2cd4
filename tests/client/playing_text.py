# SPDX-License-Identifier: AGPL-3.0-or-later
"""The texts of a playing horde."""

from dataclasses import dataclass, field
from typing import Any

TEXT_ID = "00000000-0000-4000-8000-0000000000aa"
TEXT_KUDOS = 3.0


def text_check(*texts: str, **changes: Any) -> dict[str, Any]:
    """An answer of `generate/text/status`: done, with these texts, unless changed."""
    return {
        "finished": len(texts),
        "processing": 0,
        "restarted": 0,
        "waiting": 0,
        "done": True,
        "faulted": False,
        "wait_time": 0,
        "queue_position": 0,
        "kudos": TEXT_KUDOS,
        "is_possible": True,
        "generations": [
            {
                "id": f"00000000-0000-4000-8000-0000000002{number:02}",
                "text": text,
                "seed": 7,
                "model": "tiny/storyteller",
                "worker_id": "00000000-0000-4000-8000-000000000003",
                "worker_name": "Bob's scribe",
                "state": "ok",
                "gen_metadata": [],
            }
            for number, text in enumerate(texts)
        ],
        **changes,
    }


TEXT_WAITING = text_check(done=False, waiting=1, queue_position=4, wait_time=30, kudos=0.0)
TEXT_WRITING = text_check(done=False, processing=1, wait_time=5, kudos=0.0)


@dataclass
class PlayingTexts:
    """What is answered; the last entry of `statuses` is said for ever."""

    statuses: list[dict[str, Any]] = field(
        default_factory=lambda: [text_check(" there was a fox.")]
    )
    warnings: list[dict[str, str]] | None = None
    cancelled: list[str] = field(default_factory=list)

    def submit(self, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """The answer of `generate/text/async`, and its HTTP status."""
        if body.get("dry_run"):
            lines = [{"label": "80 tokens", "kudos": 2.0}, {"label": "tax", "kudos": 1.0}]
            return {"kudos": TEXT_KUDOS, "lines": lines}, 200
        queued: dict[str, Any] = {"id": TEXT_ID, "kudos": 0}
        return (queued | {"warnings": self.warnings} if self.warnings else queued), 202

    def status(self, request_id: str, cancel: bool) -> dict[str, Any]:
        """The answer of `generate/text/status`."""
        if cancel:
            self.cancelled.append(request_id)
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
