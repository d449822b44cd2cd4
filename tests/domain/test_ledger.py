# SPDX-License-Identifier: AGPL-3.0-or-later
from collections.abc import Iterable
from typing import Any, get_args
from uuid import UUID, uuid5

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from openhorde.server.domain import ledger
from openhorde.server.domain.ledger import MINT, TREASURY, Fold, Purpose, Transfer

ROOT = UUID(int=1)
REQUEST, JOB = UUID(int=2), UUID(int=3)
PAYER, OWNER = 5, 7
FLOORS = {
    ledger.balance_account(0): -50_000,
    ledger.balance_account(1): 25_000,
    ledger.balance_account(2): 25_000,
    ledger.balance_account(3): 14_000,
}
USERS = st.sampled_from([0, 1, 2, 3])
AMOUNTS = st.integers(0, 100_000)


def entries(transfers: Iterable[Transfer]) -> list[tuple[str, int, int, int]]:
    return [(t.purpose, t.debit, t.credit, t.amount_milli) for t in transfers]


def deliver(**changes: Any) -> tuple[Transfer, ...]:
    facts: dict[str, Any] = {
        "owner_trusted": True,
        "reward_milli": 8000,
        "price_milli": 10_400,
        "tax_milli": 1000,
        "censored": False,
        "bridge_multiplier": 1.0,
    }
    return ledger.deliver(JOB, REQUEST, PAYER, OWNER, **(facts | changes))


def test_accounts() -> None:
    assert ledger.balance_account(5) == 10
    assert ledger.escrow_account(5) == 11
    assert (TREASURY, MINT) == (-1, -2)


def test_what_a_delivery_moves() -> None:
    assert entries(deliver()) == [
        ("price", 10, TREASURY, 10_400),
        ("tax", 10, TREASURY, 1000),
        ("reward", TREASURY, 14, 8000),
    ]


def test_untrusted_owners_get_half_into_escrow() -> None:
    assert entries(deliver(owner_trusted=False))[2:] == [
        ("reward", TREASURY, 14, 4000),
        ("escrow", TREASURY, 15, 4000),
    ]


def test_the_agents_factor_lowers_what_is_earned() -> None:
    assert entries(deliver(bridge_multiplier=0.75))[2:] == [("reward", TREASURY, 14, 6000)]


def test_a_censored_job_costs_the_tax_and_its_worker_is_paid() -> None:
    assert entries(deliver(censored=True)) == [
        ("tax", 10, TREASURY, 1000),
        ("subsidy", MINT, TREASURY, 8000),
        ("reward", TREASURY, 14, 8000),
    ]


def test_what_is_missing_is_minted() -> None:
    assert ("subsidy", MINT, TREASURY, 3000) in entries(deliver(price_milli=5000))


def test_only_the_requesters_side_draws_on_the_hold() -> None:
    assert [t.purpose for t in deliver(owner_trusted=False) if t.hold] == ["price", "tax"]


def test_nothing_moves_nothing() -> None:
    assert ledger.activate(REQUEST, PAYER, 0) == ()
    assert ledger.reserve(REQUEST, PAYER, 0) == ()
    assert ledger.release(REQUEST, PAYER, 0) == ()
    assert ledger.grant(ROOT, PAYER, 0) == ()
    assert deliver(reward_milli=0, price_milli=0, tax_milli=0) == ()


def test_buckets() -> None:
    price, tax, reward = deliver()
    assert (price.debit_bucket, tax.debit_bucket, reward.credit_bucket) == ("accumulated",) * 3
    (award,) = ledger.grant(ROOT, 1, 100, purpose="award")
    assert award.credit_bucket == "awarded"
    (promoted,) = ledger.promote(ROOT, 1, 500)
    assert (promoted.debit, promoted.credit, promoted.credit_bucket) == (3, 2, "accumulated")


def test_admins_may_take_away() -> None:
    assert entries(ledger.grant(ROOT, 1, -300, purpose="admin")) == [("admin", 2, MINT, 300)]


def test_uptime() -> None:
    assert entries(ledger.uptime(ROOT, 1, 500, owner_trusted=False)) == [("escrow", MINT, 3, 500)]
    assert entries(ledger.uptime(ROOT, 1, 500, owner_trusted=True)) == [("uptime", MINT, 2, 500)]


def fold(
    transfers: Iterable[Transfer],
    balances: dict[int, int] | None = None,
    held: dict[UUID, int] | None = None,
) -> Fold:
    return ledger.fold(balances or {}, held or {}, transfers, FLOORS)


def test_a_new_account_jumps_to_its_floor_even_on_a_credit() -> None:
    after = fold(ledger.grant(ROOT, 1, 100))
    assert after.balances == {2: 25_000, MINT: -25_000}
    assert entries(after.adjustments) == [("floor", MINT, 2, 24_900)]
    assert entries(after.applied)[1:] == entries(after.adjustments)


def test_debts_beyond_the_floor_are_forgiven() -> None:
    after = fold(ledger.activate(REQUEST, 1, 3000), {2: 26_000, MINT: -26_000})
    assert after.balances == {2: 25_000, TREASURY: 3000, MINT: -28_000}


def test_one_sources_adjustments_are_told_apart() -> None:
    after = fold(ledger.deliver(
        JOB, REQUEST, 0, 1, owner_trusted=True, reward_milli=60_000, price_milli=60_000,
        tax_milli=1000, censored=False, bridge_multiplier=0.1,
    ))  # fmt: skip
    assert entries(after.adjustments) == [
        ("floor", MINT, 0, 10_000),
        ("floor", MINT, 0, 1000),
        ("floor", MINT, 2, 19_000),
    ]
    assert len({transfer.key for transfer in after.applied}) == len(after.applied)


def test_holds_lower_what_may_be_spent_only() -> None:
    after = fold(ledger.reserve(REQUEST, 1, 4000), {2: 30_000, MINT: -30_000})
    assert (after.balances[2], after.held) == (30_000, {REQUEST: 4000})


def test_charges_draw_on_the_hold_and_the_rest_is_released() -> None:
    first = fold(ledger.reserve(REQUEST, 1, 15_000), {2: 90_000, MINT: -90_000})
    second = ledger.fold(first.balances, first.held, ledger.activate(REQUEST, 1, 3000), FLOORS)
    assert second.held == {REQUEST: 12_000}
    third = ledger.fold(second.balances, second.held, deliver(), FLOORS)
    assert third.held == {REQUEST: 600}
    last = ledger.fold(third.balances, third.held, ledger.release(REQUEST, 1, 600), FLOORS)
    assert (last.held, last.balances) == ({}, third.balances)


@pytest.mark.parametrize("purpose", get_args(Purpose))
def test_purposes_are_plain_words(purpose: str) -> None:
    assert purpose.isalpha()


class Ledger(RuleBasedStateMachine):
    """Accounts under any order of requests, deliveries and repetitions."""

    requests: Bundle[tuple[UUID, int]] = Bundle("requests")
    moved: Bundle[tuple[Transfer, ...]] = Bundle("moved")

    def __init__(self) -> None:
        super().__init__()
        self.balances: dict[int, int] = {}
        self.held: dict[UUID, int] = {}
        self.reserved: dict[UUID, int] = {}
        self.log: list[Transfer] = []
        self.numbers = 0

    def new_id(self) -> UUID:
        self.numbers += 1
        return uuid5(ROOT, str(self.numbers))

    def apply(self, transfers: tuple[Transfer, ...]) -> tuple[Transfer, ...]:
        seen = {transfer.key for transfer in self.log}
        after = ledger.fold(self.balances, self.held, transfers, FLOORS, seen)
        self.balances, self.held = after.balances, after.held
        self.log += after.applied
        return transfers

    def available(self, user: int) -> int:
        account = ledger.balance_account(user)
        holds = {t.hold for t in self.log if t.purpose == "reserve" and t.debit == account}
        held = sum(amount for request, amount in self.held.items() if request in holds)
        balance = self.balances.get(account, 0)
        return balance - FLOORS[account] - held

    @rule(target=moved, user=USERS, amount=st.integers(-50_000, 100_000))
    def grant(self, user: int, amount: int) -> tuple[Transfer, ...]:
        return self.apply(ledger.grant(self.new_id(), user, amount, purpose="admin"))

    @rule(target=moved, owner=USERS, amount=AMOUNTS, trusted=st.booleans())
    def uptime(self, owner: int, amount: int, trusted: bool) -> tuple[Transfer, ...]:
        return self.apply(ledger.uptime(self.new_id(), owner, amount, owner_trusted=trusted))

    @rule(target=moved, user=USERS)
    def promote(self, user: int) -> tuple[Transfer, ...]:
        escrow = self.balances.get(ledger.escrow_account(user), 0)
        return self.apply(ledger.promote(self.new_id(), user, escrow))

    @rule(target=requests, payer=USERS, amount=AMOUNTS, tax=st.integers(0, 5000))
    def submit(self, payer: int, amount: int, tax: int) -> Any:
        if self.available(payer) < amount:
            return multiple()
        request_id = self.new_id()
        self.reserved[request_id] = amount
        self.apply(ledger.reserve(request_id, payer, amount))
        self.apply(ledger.activate(request_id, payer, tax))
        return request_id, payer

    @rule(
        target=moved,
        request=requests,
        owner=USERS,
        reward=AMOUNTS,
        price=AMOUNTS,
        tax=st.integers(0, 2000),
        trusted=st.booleans(),
        censored=st.booleans(),
        factor=st.sampled_from([0.75, 0.9, 1.0]),
    )
    def deliver(
        self,
        request: tuple[UUID, int],
        owner: int,
        reward: int,
        price: int,
        tax: int,
        trusted: bool,
        censored: bool,
        factor: float,
    ) -> tuple[Transfer, ...]:
        request_id, payer = request
        treasury = self.balances.get(TREASURY, 0)
        moved = ledger.deliver(
            self.new_id(),
            request_id,
            payer,
            owner,
            owner_trusted=trusted,
            reward_milli=reward,
            price_milli=price,
            tax_milli=tax,
            censored=censored,
            bridge_multiplier=factor,
        )
        earned = sum(t.amount_milli for t in moved if t.purpose in ("reward", "escrow"))
        paid = sum(t.amount_milli for t in moved if t.purpose in ("price", "tax"))
        assert earned == round(reward * factor)
        assert paid == tax + (0 if censored else price)
        self.apply(moved)
        assert self.balances.get(TREASURY, 0) >= treasury + tax
        return moved

    @rule(target=moved, request=requests)
    def release(self, request: tuple[UUID, int]) -> tuple[Transfer, ...]:
        request_id, payer = request
        remaining, before = self.held.get(request_id, 0), self.available(payer)
        moved = self.apply(ledger.release(request_id, payer, remaining))
        assert request_id not in self.held
        assert self.available(payer) == before + remaining
        return moved

    @rule(again=moved)
    def repeat(self, again: tuple[Transfer, ...]) -> None:
        before = dict(self.balances), dict(self.held), len(self.log)
        self.apply(again + again)
        assert (self.balances, self.held, len(self.log)) == before

    @invariant()
    def the_sum_is_zero(self) -> None:
        assert ledger.total(self.balances) == 0
        assert self.balances.get(TREASURY, 0) >= 0

    @invariant()
    def floors_hold(self) -> None:
        for account, floor in FLOORS.items():
            assert self.balances.get(account, floor) >= floor
        assert all(self.balances.get(ledger.escrow_account(user), 0) >= 0 for user in range(4))

    @invariant()
    def holds_never_exceed_the_reservation(self) -> None:
        for request_id, reserved in self.reserved.items():
            entries_of = [t for t in self.log if t.hold == request_id]
            spent = sum(t.amount_milli for t in entries_of if t.phase == "posted")
            released = any(t.phase == "void" for t in entries_of)
            left = 0 if released else max(0, reserved - spent)
            assert self.held.get(request_id, 0) == left

    @invariant()
    def the_log_tells_it_all(self) -> None:
        assert len({transfer.key for transfer in self.log}) == len(self.log)
        assert all(transfer.amount_milli > 0 for transfer in self.log)
        again = ledger.fold({}, {}, self.log, {})
        assert (again.balances, again.held) == (self.balances, self.held)


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
