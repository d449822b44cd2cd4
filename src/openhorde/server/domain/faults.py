# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whose fault it is when a job fails.

A worker may state a reason. Where two different workers state the same one for jobs of a request
that nobody has done yet, the request is at fault: no more workers are bothered with it, and neither
of them is blamed. Two workers of one owner end the request as well, but are excused only if the
owner is trusted: else anybody could end the requests of others at no cost.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

REASON_LENGTH_MAX: Final = 200
OWN_REASONS: Final = ("the worker", "a fault in the worker", "no engine", "its request was")
"""What begins like this a worker says of itself: it is no reason to blame the request."""

_NUMBERS: Final = re.compile(r"\d+")
_SPACE: Final = re.compile(r"\s+")


class EarlierFault(Struct, frozen=True):
    """A job of the same request that has failed before."""

    worker_id: UUID
    owner_id: int
    reason: str | None


def told_reason(metadata: Iterable[Mapping[str, Any]]) -> str | None:
    """What a worker says why a job failed, as it says it."""
    for note in metadata:
        if note.get("type") == "information" and note.get("ref"):
            return str(note["ref"])
    return None


def stated_reason(metadata: Iterable[Mapping[str, Any]]) -> str | None:
    """The reason in a form that is the same for the same reason: numbers (sizes, addresses, times)
    differ from worker to worker. None where a worker states none, or one of its own."""
    told = told_reason(metadata)
    if told is None:
        return None
    plain = _SPACE.sub(" ", told[: 4 * REASON_LENGTH_MAX]).strip().casefold()
    if not plain or plain.startswith(OWN_REASONS):
        return None
    return _NUMBERS.sub("#", plain)[:REASON_LENGTH_MAX]


def of_request(results: Iterable[Mapping[str, Any] | None]) -> str | None:
    """What the requester is told, from what came of the request's jobs: the reason as the last
    worker gave it. None if the request is not at fault."""
    for result in results:
        if result and result.get("of_request"):
            told = told_reason(result.get("gen_metadata", ())) or "they give no reason"
            return f"No worker can do this request: {told[:REASON_LENGTH_MAX]}"
    return None


def alike(
    worker_id: UUID, reason: str | None, earlier: Iterable[EarlierFault], *, any_done: bool
) -> list[EarlierFault]:
    """The earlier faults of other workers for the same reason. If there are any, the request is at
    fault; where a job of it was done, it is not."""
    if reason is None or any_done:
        return []
    return [fault for fault in earlier if fault.worker_id != worker_id and fault.reason == reason]


def excuses(owner_id: int, earlier: EarlierFault, *, trusted: bool) -> bool:
    """Whether a fault that is the request's is not counted against an earlier worker, and so not
    against the present one of this owner either."""
    return trusted or earlier.owner_id != owner_id
