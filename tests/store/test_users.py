# SPDX-License-Identifier: AGPL-3.0-or-later
"""Accounts are found by key, and kept for a moment."""

from datetime import UTC, datetime
from unittest.mock import AsyncMock

import pytest

from openhorde.server.actions.horde import Horde
from openhorde.server.actions.users import AddedUser, add_user
from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.clock import FixedClock
from openhorde.server.kit.ids import hash_key
from openhorde.server.store import users
from openhorde.server.store.users import ANONYMOUS_KEY, Account, Accounts
from openhorde.server.tasks import fold_ledger

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def _alice(horde: Horde) -> AddedUser:
    return await add_user(horde.statements, horde.salt, username="Alice")


async def test_a_new_account(horde: Horde) -> None:
    alice = await _alice(horde)
    account = await users.account_by_id(horde.statements, alice.user_id)
    assert account == await users.account_by_key_hash(
        horde.statements, hash_key(horde.salt, alice.api_key)
    )
    assert account is not None
    assert (account.alias, account.roles, account.concurrency) == ("Alice#1", frozenset(), 30)
    assert account.pseudonymous
    assert not account.anonymous
    # Pseudonymous accounts are lifted to their floor by what is booked first, not before.
    assert (account.balance_milli, account.escrow_milli) == (0, 0)
    numbers = await horde.pool.fetch("select number from accounts where number >= 2 order by 1")
    assert [row["number"] for row in numbers] == [2, 3]


async def test_the_key_is_not_stored(horde: Horde) -> None:
    alice = await _alice(horde)
    stored = await horde.pool.fetchval("select users::text from users where id = $1", alice.user_id)
    assert alice.api_key not in stored


async def test_roles(horde: Horde) -> None:
    dora = await add_user(horde.statements, horde.salt, username="Dora", moderator=True)
    account = await users.account_by_id(horde.statements, dora.user_id)
    assert account is not None
    assert (account.moderator, account.trusted, account.flagged) == (True, True, False)


async def test_the_same_provider_id_is_the_same_account(horde: Horde) -> None:
    first = await add_user(
        horde.statements, horde.salt, username="Bob", provider_id="g_1", trusted=True, kudos=50
    )
    await horde.pool.execute("update users set roles = array_append(roles, 'vpn')")
    second = await add_user(horde.statements, horde.salt, username="Robert", provider_id="g_1")
    await fold_ledger.run(horde)
    assert (first.is_new, second.is_new) == (True, False)
    assert (second.user_id, second.alias) == (first.user_id, f"Robert#{first.user_id}")
    assert second.api_key != first.api_key
    assert await horde.accounts.by_key(first.api_key) is None
    account = await horde.accounts.by_key(second.api_key)
    assert account is not None
    assert account.roles == {"vpn"}
    assert not account.pseudonymous
    assert account.balance_milli == 50_000


@pytest.mark.parametrize("username", ["", " ", "\0", "<i></i>", "\u202e"])
async def test_names_need_something_to_see(horde: Horde, username: str) -> None:
    with pytest.raises(Refusal, match="BadRequest"):
        await add_user(horde.statements, horde.salt, username=username)


@pytest.mark.parametrize(
    ("text", "user_id"),
    [("5", 5), ("x#5", 5), ("a#b#5", 5), ("0", 0), ("2147483647", 2147483647)],
)
def test_ids_in_what_people_write(text: str, user_id: int) -> None:
    assert users.user_id_of(text) == user_id


@pytest.mark.parametrize("text", ["", "#", "x", "5#x", "-5", "2147483648", "9" * 100, "٥", "1.0"])
def test_what_is_no_id(text: str) -> None:
    assert users.user_id_of(text) is None


class TestCache:
    """Who has a key, as one process knows it."""

    @pytest.fixture
    def clock(self) -> FixedClock:
        """Moved by the tests."""
        return FixedClock(NOON)

    @pytest.fixture
    def accounts(self, horde: Horde, clock: FixedClock) -> Accounts:
        """A cache by that clock."""
        return Accounts(horde.statements, horde.salt, clock)

    async def _flag(self, horde: Horde) -> None:
        await horde.pool.execute("update users set roles = '{flagged}'")

    async def test_what_is_known_is_kept_for_seconds(
        self, horde: Horde, accounts: Accounts, clock: FixedClock
    ) -> None:
        alice = await _alice(horde)
        before = await accounts.by_key(alice.api_key)
        await self._flag(horde)
        clock.advance(4.9)
        assert await accounts.by_key(alice.api_key) is before
        clock.advance(0.1)
        after = await accounts.by_key(alice.api_key)
        assert after is not None
        assert after.flagged

    async def test_what_was_changed_here_is_read_again(
        self, horde: Horde, accounts: Accounts
    ) -> None:
        alice = await _alice(horde)
        await accounts.by_key(alice.api_key)
        await self._flag(horde)
        accounts.forget(alice.user_id)
        after = await accounts.by_key(alice.api_key)
        assert after is not None
        assert after.flagged

    async def test_nobody_is_kept_for_a_second(
        self, horde: Horde, accounts: Accounts, clock: FixedClock
    ) -> None:
        key = "not-yet-somebodys-key"
        assert await accounts.by_key(key) is None
        alice = await _alice(horde)
        await horde.pool.execute(
            "update users set key_hash = $1 where id = $2", hash_key(horde.salt, key), alice.user_id
        )
        clock.advance(0.9)
        assert await accounts.by_key(key) is None
        clock.advance(0.1)
        assert await accounts.by_key(key) is not None

    async def test_a_key_just_given_out_is_known(self, horde: Horde, accounts: Accounts) -> None:
        alice = await _alice(horde)
        accounts.forget_unknown(alice.api_key)
        assert await accounts.by_key(alice.api_key) is not None

    async def test_anonymous(self, accounts: Accounts) -> None:
        account = await accounts.by_key(ANONYMOUS_KEY)
        assert account is not None
        assert (account.id, account.alias, account.anonymous) == (0, "Anonymous#0", True)
        assert account.concurrency == 500
        # The anonymous account's own hash is empty: no key may lead to it but the one above.
        assert await accounts.by_key("") is None

    @pytest.mark.parametrize("key", ["\xff", "x" * 100_000, "' or 1=1 --", "\ud7ff"])
    async def test_strange_keys_are_nobodys(self, accounts: Accounts, key: str) -> None:
        assert await accounts.by_key(key) is None

    async def test_what_is_kept_is_bounded(
        self, horde: Horde, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(users, "ENTRIES_MAX", 3)
        keys = [(await _alice(horde)).api_key for _ in range(4)]
        for key in keys:
            assert await accounts.by_key(key) is not None
        for number in range(4):
            assert await accounts.by_key(f"wrong-{number}") is None
        looked_up: AsyncMock = AsyncMock(return_value=None)
        monkeypatch.setattr(users, "account_by_key_hash", looked_up)
        found: list[Account | None] = [await accounts.by_key(key) for key in keys]
        assert [account is None for account in found] == [True, False, False, False]
        assert looked_up.await_count == 1
