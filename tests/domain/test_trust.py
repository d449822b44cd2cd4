# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.trust import (
    Share,
    becomes_trusted,
    share,
    uptime_share,
)

WEEK_SECONDS = 7 * 24 * 3600


@given(st.integers(0, 10**12), st.booleans())
def test_shares_sum_to_what_was_earned(earned: int, trusted: bool) -> None:
    for split in (share(earned, trusted=trusted), uptime_share(earned, trusted=trusted)):
        assert split.balance_milli + split.escrow_milli == earned
        assert min(split.balance_milli, split.escrow_milli) >= 0


def test_untrusted_owners_wait_for_half() -> None:
    assert share(7610, trusted=False) == Share(3805, 3805)
    assert share(7611, trusted=False) == Share(3805, 3806)
    assert share(7610, trusted=True) == Share(7610, 0)


def test_untrusted_uptime_waits_unless_its_kind_pays_at_once() -> None:
    assert uptime_share(50_000, trusted=False) == Share(0, 50_000)
    assert uptime_share(50_000, trusted=True) == Share(50_000, 0)
    assert uptime_share(40_000, trusted=False, at_once=True) == Share(40_000, 0)


@pytest.mark.parametrize(
    ("change", "trusted"),
    [
        ({}, True),
        ({"escrow_milli": 50_000}, False),
        ({"threshold_milli": None}, False),
        ({"account_age_seconds": WEEK_SECONDS - 1}, False),
        ({"suspicions": 5}, False),
        ({"anonymous": True}, False),
        ({"deleted": True}, False),
    ],
)
def test_who_becomes_trusted(change: dict[str, int], trusted: bool) -> None:
    facts: dict[str, Any] = {
        "escrow_milli": 50_001,
        "threshold_milli": 50_000,
        "account_age_seconds": WEEK_SECONDS,
        "suspicions": 4,
        "anonymous": False,
    }
    assert becomes_trusted(**(facts | change)) is trusted
