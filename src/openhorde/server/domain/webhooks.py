# SPDX-License-Identifier: AGPL-3.0-or-later
"""Webhooks: how a call is signed (as standardwebhooks.com says), judged and repeated."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Literal
from uuid import UUID

TRIED_FOR: Final = timedelta(hours=24)
"""So long after its delivery a job's call is repeated."""

LEFT_ALONE_FOR: Final = timedelta(hours=48)
"""After so long a call is given up that still waits for its turn."""

LEFT_ALONE: Final = "There was no time to make this call."

KEPT: Final = timedelta(days=7)
"""So long a call that is over stays in the log."""

FIRST_PAUSE_SECONDS: Final = 5.0
PAUSE_FACTOR: Final = 3.0
PAUSE_SECONDS_MAX: Final = 4 * 3600.0
_PREFIX = "whsec_"
_GONE = 410


def secret(horde_secret: bytes, request_id: UUID) -> str:
    """What signs the calls of a request; only this horde and its requester know it."""
    key = hmac.digest(horde_secret, request_id.bytes, hashlib.sha256)
    return _PREFIX + base64.b64encode(key).decode()


def signed_headers(secret: str, call_id: UUID, moment: datetime, body: bytes) -> Mapping[str, str]:
    """The headers that prove who sent a body and when. The id is the same in each repetition."""
    timestamp = str(int(moment.timestamp()))
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    content = f"{call_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {
        "webhook-id": str(call_id),
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How one attempt went: the status that came back, or in `error` why none did. `hopeless`:
    another attempt would fare no better."""

    status: int | None = None
    error: str | None = None
    retry_after: str | None = None
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a call: when it is due again if it waits, and what its log says."""

    state: Literal["waiting", "delivered", "given_up"]
    due_at: datetime | None = None
    error: str | None = None


def judge(
    attempt: Attempt, *, attempts: int, created_at: datetime, now: datetime, chance: float
) -> Verdict:
    """Judge the attempt that was the `attempts`-th. `chance` (0 to 1) spreads the repetitions."""
    status = attempt.status
    if status is not None and 200 <= status < 300:
        return Verdict("delivered")
    error = attempt.error or _sentence(status)
    if attempt.hopeless or status == _GONE:
        return Verdict("given_up", error=error)
    due_at = now + timedelta(seconds=pause_seconds(attempts, chance))
    asked = _moment(attempt.retry_after, now)
    if asked is not None:
        due_at = max(due_at, min(asked, now + timedelta(seconds=PAUSE_SECONDS_MAX)))
    if due_at > created_at + TRIED_FOR:
        return Verdict("given_up", error=error)
    return Verdict("waiting", due_at, error)


def pause_seconds(attempts: int, chance: float) -> float:
    """How long to wait after so many attempts: 5 s, then three times as long each time, at most
    4 hours; and up to a quarter more or less."""
    # More attempts than these reach the bound, and none of them a number too large.
    factor = PAUSE_FACTOR ** min(attempts - 1, 20)
    return min(FIRST_PAUSE_SECONDS * factor, PAUSE_SECONDS_MAX) * (0.75 + 0.5 * chance)


def _sentence(status: int | None) -> str:
    if status is not None and 300 <= status < 400:
        return f"The host answered {status}; redirects are not followed."
    return f"The host answered {status}."


def _moment(retry_after: str | None, now: datetime) -> datetime | None:
    """What a Retry-After asks for: seconds or a date. None if it says nothing that is either."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return now + timedelta(seconds=min(int(text[:9]), PAUSE_SECONDS_MAX))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
