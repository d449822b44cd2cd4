# SPDX-License-Identifier: AGPL-3.0-or-later
"""How calls of webhooks are signed, judged and repeated. The verifier is somebody else's."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from openhorde.server.domain.webhooks import (
    PAUSE_SECONDS_MAX,
    TRIED_FOR,
    Attempt,
    Verdict,
    judge,
    pause_seconds,
    secret,
    signed_headers,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REQUEST = UUID(int=1)


def judged(attempts: int = 1, age: timedelta = timedelta(), **facts: object) -> Verdict:
    """The verdict over an attempt, in the middle of what chance allows."""
    attempt = Attempt(**facts)  # type: ignore[arg-type]
    return judge(attempt, attempts=attempts, created_at=NOW - age, now=NOW, chance=0.5)


def test_somebody_elses_library_verifies_the_signature() -> None:
    mine = secret(b"horde", REQUEST)
    body = '{"prompt": "ein Mädchen"}'.encode()
    call_id = uuid4()
    headers = dict(signed_headers(mine, call_id, datetime.now(UTC), body))
    assert headers["webhook-id"] == str(call_id)
    assert Webhook(mine).verify(body, headers) == {"prompt": "ein Mädchen"}
    others = secret(b"horde", UUID(int=2)), secret(b"another horde", REQUEST)
    for other in others:
        with pytest.raises(WebhookVerificationError):
            Webhook(other).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(mine).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(mine).verify(body, headers | {"webhook-id": str(uuid4())})


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_success_is_the_end(status: int) -> None:
    assert judged(status=status) == Verdict("delivered")


def test_gone_is_the_end() -> None:
    assert judged(status=410) == Verdict("given_up", error="The host answered 410.")


def test_a_hopeless_error_is_the_end() -> None:
    verdict = judged(error="No.", hopeless=True)
    assert verdict == Verdict("given_up", error="No.")


@pytest.mark.parametrize("status", [100, 301, 400, 404, 429, 500, 503, 999])
def test_other_answers_are_tried_again(status: int) -> None:
    verdict = judged(status=status)
    assert verdict.state == "waiting"
    assert verdict.due_at == NOW + timedelta(seconds=5)
    assert str(status) in (verdict.error or "")


def test_errors_are_tried_again_for_a_day() -> None:
    assert judged(error="Away.", attempts=9, age=timedelta(hours=19)).state == "waiting"
    verdict = judged(error="Away.", attempts=10, age=timedelta(hours=21))
    assert verdict == Verdict("given_up", error="Away.")


def test_from_seconds_to_hours() -> None:
    pauses = [round(pause_seconds(attempts, 0.5)) for attempts in range(1, 11)]
    assert pauses == [5, 15, 45, 135, 405, 1215, 3645, 10935, 14400, 14400]


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_pauses_are_bounded_and_spread(attempts: int, chance: float) -> None:
    pause = pause_seconds(attempts, chance)
    assert 3.75 <= pause <= 1.25 * PAUSE_SECONDS_MAX
    assert pause_seconds(attempts, 0) <= pause <= pause_seconds(attempts, 1)
    assert pause_seconds(attempts, 0) < pause_seconds(attempts, 1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *((None, 5), ("", 5), ("soon", 5), ("1", 5), ("-9", 5), ("²", 5)),
        *(("60", 60), (" 90 ", 90), ("9" * 5000, PAUSE_SECONDS_MAX)),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60),
        ("Fri, 02 Jan 2026 03:05:05 -0000", 60),
        ("Fri, 02 Jan 1970 03:05:05 GMT", 5),
        ("Fri, 02 Jan 2099 03:05:05 GMT", PAUSE_SECONDS_MAX),
        ("Fri, 99 Foo 2099 03:05:05 GMT", 5),
        ("Fri, 02 Jan 2026 03:05:05 +99999999999999999999", 5),
    ],
)
def test_a_host_may_ask_for_more_time(text: str | None, seconds: float) -> None:
    assert judged(status=429, retry_after=text).due_at == NOW + timedelta(seconds=seconds)


@given(st.text(max_size=60))
def test_no_host_can_ask_for_more_than_that(text: str) -> None:
    verdict = judged(status=503, retry_after=text)
    assert verdict.due_at is not None
    assert NOW < verdict.due_at <= NOW + timedelta(seconds=PAUSE_SECONDS_MAX)


@given(st.floats(0, 1))
def test_a_call_is_tried_at_least_ten_times_in_its_day(chance: float) -> None:
    now, attempts = NOW, 0
    while True:
        attempts += 1
        verdict = judge(
            Attempt(status=500), attempts=attempts, created_at=NOW, now=now, chance=chance
        )
        if verdict.due_at is None:
            break
        now = verdict.due_at
    assert attempts >= 10
    assert now <= NOW + TRIED_FOR
