# SPDX-License-Identifier: AGPL-3.0-or-later
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.faults import (
    REASON_LENGTH_MAX,
    EarlierFault,
    alike,
    excuses,
    of_request,
    stated_reason,
)

ONE, OTHER = UUID(int=1), UUID(int=2)


def told(reason: str) -> list[dict[str, str]]:
    """A reason as workers note it."""
    return [
        {"type": "lora", "value": "download_failed", "ref": "17"},
        {"type": "information", "value": "see_ref", "ref": reason},
    ]


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("Cannot draw 640x384.", "cannot  draw 128x64."),
        ("needs 3.2 GB\nof memory", "Needs 17.9 GB of memory"),
    ],
)
def test_the_same_reason_is_the_same_however_it_is_written(said: str, same: str) -> None:
    assert stated_reason(told(said)) == stated_reason(told(same)) is not None


def test_a_worker_that_states_none_or_its_own_blames_nobody() -> None:
    assert stated_reason([]) is None
    assert stated_reason([{"type": "censorship", "value": "csam"}]) is None
    for own in ("the worker was stopped", "A fault in the worker: KeyError", " ", "no engine here"):
        assert stated_reason(told(own)) is None


@given(st.text(max_size=3_000))
def test_reasons_are_bounded_and_settled(reason: str) -> None:
    stated = stated_reason(told(reason))
    if stated is not None:
        assert 0 < len(stated) <= REASON_LENGTH_MAX
        assert stated_reason(told(stated)) in (stated, stated.strip(), None)


def test_two_workers_and_one_reason_make_it_the_requests_fault() -> None:
    earlier = [EarlierFault(ONE, 1, "too large"), EarlierFault(ONE, 1, None)]
    assert alike(OTHER, "too large", earlier, any_done=False) == earlier[:1]
    assert not alike(ONE, "too large", earlier, any_done=False)
    assert not alike(OTHER, "too small", earlier, any_done=False)
    assert not alike(OTHER, None, earlier, any_done=False)
    assert not alike(OTHER, "too large", earlier, any_done=True)


def test_one_owner_excuses_itself_only_if_trusted() -> None:
    earlier = EarlierFault(ONE, 1, "too large")
    assert excuses(2, earlier, trusted=False)
    assert excuses(1, earlier, trusted=True)
    assert not excuses(1, earlier, trusted=False)


def test_the_requester_is_told_the_reason_as_it_was_said() -> None:
    failed = {"gen_metadata": told("Cannot draw 640x384."), "of_request": True}
    message = "No worker can do this request: Cannot draw 640x384."
    assert of_request([None, {"of_request": False}, failed]) == message
    assert of_request([None, {"gen_metadata": []}]) is None
