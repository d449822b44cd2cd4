# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.kinds import text_cover as cover
from openhorde.server.domain.refusals import Refusal
from openhorde.server.domain.requester import Requester
from openhorde.server.domain.text_reference import TextReference
from openhorde.wire.text import TextParams, TextRequest

REFERENCE = TextReference({"seven": 7.0, "seventy": 70.0})


def request(max_length: int = 80, *, n: int = 1, **fields: Any) -> TextRequest:
    params = TextParams(max_length=max_length, max_context_length=8192, n=n)
    return TextRequest(prompt="Once", params=params, **fields)


def rule(wanted: TextRequest, *, queued: int = 0, threads: int = 0, **fields: Any) -> cover.Upfront:
    return cover.upfront(
        wanted, REFERENCE, queued_jobs=queued, threads=threads, estimate_milli=1000, **fields
    )


def requester(available_milli: int) -> Requester:
    return Requester(user_id=1, alias="alice#1", available_milli=available_milli)


@pytest.mark.parametrize(
    ("queued", "threads", "slow_workers", "limit"),
    [
        (0, 0, True, 512),
        (0, 10, True, 512),
        (0, 10, False, 562),
        (100, 0, True, 422),
        (1000, 0, True, 256),
        (1000, 0, False, 0),
        (1000, 100, False, 112),
    ],
)
def test_what_is_free_shrinks_with_the_queue(
    queued: int, threads: int, slow_workers: bool, limit: int
) -> None:
    wanted = request(slow_workers=slow_workers)
    assert cover.limit_length(wanted, queued_jobs=queued, threads=threads) == limit
    doubled = cover.limit_length(
        wanted, queued_jobs=queued, threads=threads, length_free=2 * cover.LENGTH_FREE
    )
    assert limit <= doubled <= limit + cover.LENGTH_FREE
    assert doubled == limit + cover.LENGTH_FREE or queued


@pytest.mark.parametrize(
    ("wanted", "queued", "reasons"),
    [
        (request(512), 0, ()),
        (request(513), 0, ("max_length",)),
        (request(257), 1000, ("max_length",)),
        (request(16, slow_workers=False), 0, ("slow_workers",)),
    ],
)
def test_what_must_be_payable_in_advance(
    wanted: TextRequest, queued: int, reasons: tuple[str, ...]
) -> None:
    found = rule(wanted, queued=queued)
    assert (found.required, found.reasons) == (bool(reasons), reasons)


def test_lists_of_workers_cost_cover_where_the_operator_says_so() -> None:
    listed = request(workers=["one"])
    assert not rule(listed).required
    found = rule(listed, charges_worker_lists=True)
    assert (found.reasons, found.forbids_downgrade) == (("workers",), True)
    assert rule(request(worker_blacklist=True), charges_worker_lists=True).required


def test_how_much_must_be_there() -> None:
    amount = cover.amount_milli
    assert amount(request(n=3), REFERENCE, 0) == 60_000
    assert amount(request(600, n=2, models=["seven"]), REFERENCE, 0) == 400_000
    assert amount(request(600, models=["seven", "seventy"]), REFERENCE, 0) == 2_000_000
    assert amount(request(420, models=["unknown"]), REFERENCE, 0) == 20_000
    assert amount(request(420, models=["unknown"]), REFERENCE, 90_000) == 90_000


def test_who_can_pay_is_asked_to_hold_it() -> None:
    heavy = request(slow_workers=False)
    accepted = cover.accept(heavy, requester(20_000), rule(heavy), heavy)
    assert accepted == cover.Accepted(heavy, 20_000)


def test_who_cannot_pay_is_told_what_is_missing() -> None:
    heavy = request(600)
    with pytest.raises(Refusal) as caught:
        cover.accept(heavy, requester(19_999), rule(heavy), heavy)
    assert caught.value.code == "KudosUpfront"
    assert caught.value.facts == {
        "required_milli": 20_000,
        "available_milli": 19_999,
        "reasons": ("max_length",),
        "limit_length": 512,
    }


def test_a_dry_run_is_never_refused() -> None:
    heavy = request(600, dry_run=True)
    assert cover.accept(heavy, requester(0), rule(heavy), heavy) == cover.Accepted(heavy, 0)


@given(st.integers(16, 4096), st.integers(0, 5000), st.integers(0, 500), st.booleans())
def test_a_downgraded_request_is_free(
    max_length: int, queued: int, threads: int, slow_workers: bool
) -> None:
    wanted = request(max_length, slow_workers=slow_workers, allow_downgrade=True)
    shorter = cover.downgrade(wanted, queued_jobs=queued, threads=threads)
    assert 16 <= shorter.params.max_length <= max_length
    assert not rule(shorter, queued=queued, threads=threads).required
    found = rule(wanted, queued=queued, threads=threads)
    accepted = cover.accept(wanted, requester(-1), found, shorter)
    assert accepted == cover.Accepted(shorter if found.required else wanted, 0)
