# SPDX-License-Identifier: AGPL-3.0-or-later
"""A pilot job is shown as waiting for as long as it waits."""

from typing import Any, cast

import msgspec
import pytest
from client.playing_horde import DONE, DRAWING, WAITING, worker

from openhorde.wire.workers import WorkerDetails
from openhorde.worker.panel import pilot
from openhorde.worker.panel.calls import OwnerCalls

ROUTES = {
    "image": ("generate/check", "generate/status"),
    "text": ("generate/text/status", "generate/text/status"),
}


class PlayingCalls:
    """Answers by script: what is asked how far it is waits, runs, and comes to nothing."""

    def __init__(self, kind: str) -> None:
        self._check, self._status = ROUTES[kind]
        self._left = [WAITING, WAITING, DRAWING, DONE]

    async def call(self, method: str, path: str, answer: Any, body: Any = None) -> Any:
        if method == "POST":
            told: dict[str, Any] = {"id": "1", "kudos": 2.0}
        elif path.startswith(self._check) and self._left:
            told = self._left.pop(0)
        else:
            told = {**DONE, "generations": []}
        return msgspec.convert(told, answer)


@pytest.mark.parametrize("kind", ROUTES)
async def test_it_waits_before_it_runs(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilot, "POLL_SECONDS", 0.0)
    calls = cast(OwnerCalls, PlayingCalls(kind))
    served = msgspec.convert(worker(type=kind, models=["m"]), WorkerDetails)
    seen = [
        (one.state, one.says)
        async for one in (
            msgspec.structs.replace(each) async for each in pilot.fly(calls, served, 64)
        )
    ]
    waits, runs = "It waits at place 2 of the queue.", "A worker is at it."
    assert seen[:-1] == [
        ("waiting", ""),
        ("waiting", waits),
        ("waiting", waits),
        ("running", runs),
    ]
    assert seen[-1][0] == "failed"
