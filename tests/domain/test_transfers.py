# SPDX-License-Identifier: AGPL-3.0-or-later
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.transfers import (
    Party,
    check_receiver,
    check_transfer,
    grant_due,
    grant_id,
    month_later,
    monthly_milli,
    transfer_id,
)

# In the wire's order: a call with several faults hears of the first.
FAULTS: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("TooFastKudosTransfers", {}, {}, {"returned": True}),
    ("FaultWhenKudosSending", {"suspicion": 5}, {}, {}),
    ("SourceAccountFlagged", {"flagged": True}, {}, {}),
    ("EducationCannotSendKudos", {"education": True}, {}, {}),
    ("FaultWhenKudosReceiving", {}, {"suspicion": 5}, {}),
    ("TargetAccountFlagged", {}, {"flagged": True}, {}),
    ("DeletedUser", {}, {"deleted": True}, {}),
    ("InvalidKudosTransferAmount", {}, {}, {"amount": 0}),
    ("IdempotencyKeyConflict", {}, {}, {"key_taken": True}),
]


def refusal(sender: dict[str, Any], receiver: dict[str, Any], facts: dict[str, Any]) -> str | None:
    given: dict[str, Any] = {"amount": 1, "returned": False, "key_taken": False, **facts}
    try:
        check_transfer(Party(user_id=1, **sender), Party(user_id=2, **receiver), **given)
    except Refusal as refused:
        return refused.code
    return None


@pytest.mark.parametrize("place", range(len(FAULTS)))
def test_the_first_fault_is_told(place: int) -> None:
    sender: dict[str, Any] = {}
    receiver: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for _, of_sender, of_receiver, others in FAULTS[place:]:
        sender |= of_sender
        receiver |= of_receiver
        facts |= others
    assert refusal(sender, receiver, facts) == FAULTS[place][0]


def test_what_may_be_sent() -> None:
    assert refusal({}, {}, {}) is None
    assert refusal({"suspicion": 9, "trusted": True}, {"suspicion": 4}, {}) is None
    assert refusal({}, {}, {"amount": -1}) == "NegativeKudosTransfer"


@pytest.mark.parametrize(
    ("receiver", "code"),
    [
        (Party(user_id=0, anonymous=True), "KudosTransferToAnon"),
        (Party(user_id=1), "KudosTransferToSelf"),
    ],
)
def test_receivers_that_are_none(receiver: Party, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_receiver(Party(user_id=1), receiver)
    assert refused.value.code == code


def test_a_key_is_its_senders_own() -> None:
    assert transfer_id(1, "a") == transfer_id(1, "a")
    assert len({transfer_id(*each) for each in ((1, "a"), (2, "a"), (1, "1 a"), (11, "a"))}) == 4


@pytest.mark.parametrize(
    ("moment", "later"),
    [
        ("2026-01-31T10:00", "2026-02-28T10:00"),
        ("2028-01-31T10:00", "2028-02-29T10:00"),
        ("2026-12-05T00:00", "2027-01-05T00:00"),
        ("2026-02-28T10:00", "2026-03-28T10:00"),
    ],
)
def test_a_month_later(moment: str, later: str) -> None:
    assert month_later(datetime.fromisoformat(moment)) == datetime.fromisoformat(later)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_every_month_is_granted_under_an_id_of_its_own(first: datetime) -> None:
    ids, moment = set(), first
    for _ in range(30):
        ids.add(grant_id(1, moment))
        moment = month_later(moment)
    assert len(ids) == 30
    assert (moment.year * 12 + moment.month) - (first.year * 12 + first.month) == 30
    assert grant_id(2, first) not in ids


def test_when_a_grant_is_due() -> None:
    now = datetime(2026, 7, 10, tzinfo=UTC)
    assert grant_due(None, now) == now
    assert grant_due(datetime(2026, 6, 11, tzinfo=UTC), now) is None
    assert grant_due(datetime(2026, 6, 10, tzinfo=UTC), now) == now
    assert grant_due(datetime(2026, 2, 1, tzinfo=UTC), now) == datetime(2026, 3, 1, tzinfo=UTC)


def test_how_much_a_month_brings() -> None:
    assert monthly_milli(5000, moderator=False) == 5000
    assert monthly_milli(5000, moderator=True) == 300_005_000
    assert monthly_milli(-5000, moderator=False) == 0
