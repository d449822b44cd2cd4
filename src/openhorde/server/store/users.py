# SPDX-License-Identifier: AGPL-3.0-or-later
"""Users: who has which key, and what is shown of an account."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
from msgspec import Struct

from openhorde.server.kit.clock import Clock
from openhorde.server.kit.ids import hash_key
from openhorde.server.store.statements import Statements

ANONYMOUS_KEY: Final = "0000000000"
ANONYMOUS_ID: Final = 0

FRESH_SECONDS: Final = 5.0
"""What an account may do is at most this old."""

UNKNOWN_SECONDS: Final = 1.0
"""A key that was just given out is known everywhere after this."""

ENTRIES_MAX: Final = 10_000
USER_ID_MAX: Final = 2**31 - 1


class Account(Struct, frozen=True, kw_only=True):
    """The account behind a key. Kudos in thousandths; `escrow_milli` is earned but not yet free."""

    id: int
    username: str
    provider_id: str
    roles: frozenset[str]
    concurrency: int
    worker_invited: int
    public_workers: bool
    suspicion: int
    created_at: datetime
    balance_milli: int
    escrow_milli: int
    pseudonymous: bool

    @property
    def alias(self) -> str:
        """The public name: `username#id`."""
        return f"{self.username}#{self.id}"

    @property
    def anonymous(self) -> bool:
        """Everybody without a key of their own."""
        return self.id == ANONYMOUS_ID

    @property
    def moderator(self) -> bool:
        """May see and change what is others'."""
        return "moderator" in self.roles

    @property
    def trusted(self) -> bool:
        """Has earned enough to be believed."""
        return "trusted" in self.roles

    @property
    def flagged(self) -> bool:
        """Was marked by a moderator: no workers, no transfers."""
        return "flagged" in self.roles

    @property
    def customizer(self) -> bool:
        """May offer models that are not known."""
        return "customizer" in self.roles

    @property
    def special(self) -> bool:
        """May offer models under the own alias."""
        return "special" in self.roles

    @property
    def service(self) -> bool:
        """Asks on behalf of others."""
        return "service" in self.roles

    @property
    def education(self) -> bool:
        """A school: everything is censored, nothing shared."""
        return "education" in self.roles

    @property
    def deleted(self) -> bool:
        """Is marked as deleted and may do nothing."""
        return "deleted" in self.roles


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownUser:
    """Everything the wire may show of an account. `buckets` are thousandths of kudos by where they
    came from; `records` hold (requests, things used, fulfilments, things contributed) by kind."""

    id: int
    username: str
    provider_id: str
    roles: frozenset[str]
    concurrency: int
    worker_invited: int
    public_workers: bool
    contact: str | None
    admin_comment: str | None
    monthly_kudos_milli: int
    monthly_kudos_received_at: datetime | None
    usage_multiplier: float
    suspicion: int
    created_at: datetime
    balance_milli: int
    escrow_milli: int
    pseudonymous: bool
    buckets: Mapping[str, int]
    records: Mapping[str, Sequence[int]]
    worker_ids: Sequence[UUID]


def user_id_of(text: str) -> int | None:
    """The id in what people write for a user (`5`, `name#5`), or None where there is none."""
    digits = text.rpartition("#")[2]
    if not (digits.isascii() and digits.isdigit()) or len(digits) > len(str(USER_ID_MAX)):
        return None
    number = int(digits)
    return number if number <= USER_ID_MAX else None


async def account_by_key_hash(statements: Statements, key_hash: bytes) -> Account | None:
    """The account with this key, if any."""
    row = await statements.row("account_by_key_hash", key_hash)
    return _account(row) if row else None


async def account_by_id(statements: Statements, user_id: int) -> Account | None:
    """The account of this number, if any."""
    row = await statements.row("account_by_id", user_id)
    return _account(row) if row else None


async def shown_users(statements: Statements, user_ids: Sequence[int]) -> list[ShownUser]:
    """Those of the accounts that exist, in the given order."""
    return [_shown(row) for row in await statements.rows("shown_users", list(user_ids))]


async def shown_user(statements: Statements, user_id: int) -> ShownUser | None:
    """One account, if it exists."""
    found = await shown_users(statements, [user_id])
    return found[0] if found else None


async def user_ids_by_kudos(statements: Statements, offset: int, count: int) -> list[int]:
    """A page of accounts, richest first."""
    return [row["id"] for row in await statements.rows("user_ids_by_kudos", offset, count)]


async def user_ids_by_age(statements: Statements, offset: int, count: int) -> list[int]:
    """A page of accounts, oldest first."""
    return [row["id"] for row in await statements.rows("user_ids_by_age", offset, count)]


async def open_requests(statements: Statements, user_id: int) -> list[tuple[UUID, str]]:
    """The requests of an account on which something is still to be done, as (id, kind)."""
    rows = await statements.rows("open_requests_of_user", user_id)
    return [(row["id"], row["kind"]) for row in rows]


async def save_user(
    statements: Statements,
    *,
    username: str,
    provider_id: str,
    key_hash: bytes,
    roles: Sequence[str],
) -> tuple[int, bool]:
    """Make an account, or give the one with this provider id its new name, key and roles.

    Returns its number, and whether it is new.
    """
    row = await statements.row("save_user", username, provider_id, key_hash, list(roles))
    assert row is not None
    return row["id"], row["is_new"]


class Accounts:
    """The accounts behind keys, as one process knows them."""

    def __init__(self, statements: Statements, salt: bytes, clock: Clock) -> None:
        self._statements = statements
        self._salt = salt
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Account]] = OrderedDict()
        # Apart, so that a flood of wrong keys does not push out the right ones.
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._edits = 0

    async def by_key(self, key: str) -> Account | None:
        """The account of a key, at most some seconds old; None for a key that nobody has."""
        key_hash = hash_key(self._salt, key)
        now = self._clock.now().timestamp()
        known = self._known.get(key_hash)
        if known is not None and now - known[0] < FRESH_SECONDS:
            return known[1]
        if now - self._unknown.get(key_hash, -UNKNOWN_SECONDS) < UNKNOWN_SECONDS:
            return None
        edits = self._edits
        if key == ANONYMOUS_KEY:
            account = await account_by_id(self._statements, ANONYMOUS_ID)
        else:
            account = await account_by_key_hash(self._statements, key_hash)
        if edits != self._edits:
            # What was read may be from before an edit: good for this call, but not for others.
            return account
        if account is None:
            self._known.pop(key_hash, None)
            self._unknown[key_hash] = now
            _shorten(self._unknown)
        else:
            self._known[key_hash] = (now, account)
            self._known.move_to_end(key_hash)
            _shorten(self._known)
        return account

    def forget(self, user_id: int) -> None:
        """Somebody changed this account: read it again at its next call."""
        self._edits += 1
        for key_hash in [each for each, (_, it) in self._known.items() if it.id == user_id]:
            del self._known[key_hash]

    def forget_all(self) -> None:
        """Any account may have been changed."""
        self._edits += 1
        self._known.clear()
        self._unknown.clear()

    def forget_unknown(self, key: str) -> None:
        """This key was just given out."""
        self._edits += 1
        self._unknown.pop(hash_key(self._salt, key), None)


def _shorten(
    entries: OrderedDict[bytes, float] | OrderedDict[bytes, tuple[float, Account]],
) -> None:
    while len(entries) > ENTRIES_MAX:
        entries.popitem(last=False)


def is_pseudonymous(provider_id: str) -> bool:
    """Does nothing but its key lead to this account? Its provider id is then a UUID of ours."""
    try:
        UUID(provider_id)
    except ValueError:
        return False
    return True


def _account(row: asyncpg.Record) -> Account:
    fields = dict(row)
    fields["roles"] = frozenset(row["roles"])
    return Account(**fields, pseudonymous=is_pseudonymous(row["provider_id"]))


def _shown(row: asyncpg.Record) -> ShownUser:
    fields = dict(row)
    fields["roles"] = frozenset(row["roles"])
    return ShownUser(**fields, pseudonymous=is_pseudonymous(row["provider_id"]))
