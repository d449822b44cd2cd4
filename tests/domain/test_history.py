# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any, get_args
from uuid import UUID

import pytest

from openhorde.server.domain import ledger
from openhorde.server.domain.history import meaning
from openhorde.server.domain.ledger import Purpose, Transfer
from openhorde.server.kit.ids import uuid7

REQUEST, JOB = uuid7(), uuid7()
DELIVERY: dict[str, Any] = {
    "reward_milli": 8000,
    "price_milli": 9000,
    "tax_milli": 1000,
    "censored": False,
    "bridge_multiplier": 1.0,
}


def of(transfers: tuple[Transfer, ...], purpose: str) -> Transfer:
    return next(each for each in transfers if each.purpose == purpose)


def test_a_delivery_as_each_side_sees_it() -> None:
    moved = ledger.deliver(JOB, REQUEST, 5, 7, owner_trusted=False, **DELIVERY)
    price = meaning(of(moved, "price"), 5)
    assert (price.amount_milli, price.effect) == (-9000, "balance")
    assert (price.request_id, price.job_id, price.counterparty) == (REQUEST, JOB, None)
    reward = meaning(of(moved, "reward"), 7)
    assert (reward.amount_milli, reward.effect) == (4000, "balance")
    # Who works is not told for whom.
    assert (reward.request_id, reward.job_id, reward.counterparty) == (None, JOB, None)
    escrow = meaning(of(moved, "escrow"), 7)
    assert (escrow.amount_milli, escrow.effect, escrow.job_id) == (4000, "escrow", JOB)


def test_holds_are_no_balance() -> None:
    (held,) = ledger.reserve(REQUEST, 5, 3000)
    (back,) = ledger.release(REQUEST, 5, 1000)
    assert (meaning(held, 5).amount_milli, meaning(held, 5).effect) == (-3000, "hold")
    assert (meaning(back, 5).amount_milli, meaning(back, 5).effect) == (1000, "hold")
    assert meaning(held, 5).request_id == REQUEST
    assert meaning(held, 5).job_id is None


def test_only_transfers_name_the_other_side() -> None:
    (sent,) = ledger.transfer(REQUEST, 5, 7, 100, donated=False)
    assert (meaning(sent, 5).amount_milli, meaning(sent, 5).counterparty) == (-100, 7)
    assert (meaning(sent, 7).amount_milli, meaning(sent, 7).counterparty) == (100, 5)
    assert "Sent" in meaning(sent, 5).why
    assert "Received" in meaning(sent, 7).why
    assert (sent.debit_bucket, sent.credit_bucket) == ("gifted", "received")
    (donated,) = ledger.transfer(REQUEST, 5, 7, 100, donated=True)
    assert donated.debit_bucket == "donated"


def test_escrow_that_is_paid_out_comes_to_the_balance() -> None:
    (paid,) = ledger.promote(REQUEST, 5, 800)
    assert (meaning(paid, 5).amount_milli, meaning(paid, 5).effect) == (800, "balance")


def test_escrow_of_uptime_names_no_job() -> None:
    (kept,) = ledger.uptime(UUID("00000000-0000-5000-8000-000000000001"), 5, 9, owner_trusted=False)
    assert (meaning(kept, 5).effect, meaning(kept, 5).job_id) == ("escrow", None)


@pytest.mark.parametrize("purpose", sorted(set(get_args(Purpose)) - {"subsidy"}))
def test_everything_is_explained(purpose: Purpose) -> None:
    (grant,) = ledger.grant(REQUEST, 5, 1)
    why = meaning(Transfer(**{**_fields(grant), "purpose": purpose}), 5).why
    assert why.endswith(".")


def _fields(transfer: Transfer) -> dict[str, Any]:
    return {name: getattr(transfer, name) for name in transfer.__struct_fields__}
