# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kudos on the wire: sending and awarding them, an account's history, the ledger's roots."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from openhorde.wire.bounds import AccountName
from openhorde.wire.requests import PriceLine

Amount = Annotated[int, Meta(ge=-(10**12), le=10**12)]


class KudosTransfer(Struct, kw_only=True):
    """Body of `POST kudos/transfer`: `username` is `name#id` or an id."""

    username: AccountName
    amount: Amount = 100


class KudosTransferred(Struct, kw_only=True):
    """Answer of `POST kudos/transfer`."""

    transferred: float


class KudosAward(Struct, kw_only=True):
    """Body of `POST kudos/award`: `username` is `name#id` or an id."""

    username: AccountName
    amount: Amount


class KudosAwarded(Struct, kw_only=True):
    """Answer of `POST kudos/award`."""

    awarded: float


class LedgerRoot(Struct, kw_only=True):
    """The head of the ledger's chain as it was signed on a day (UTC), all in hexadecimal.

    What is signed (Ed25519) are the lines `openhorde ledger root`, day, block and hash, each with
    a line feed behind it.
    """

    day: str
    block: int
    hash: str
    public_key: str
    signature: str
    signed_at: str | None = None


class HistoryEntry(Struct, kw_only=True):
    """One transfer as the account sees it.

    `amount` is what came to (or, negative, left) what `effect` names: the balance, the escrow, or
    what may be spent (a hold). `lines` explain a price while its request is remembered.
    """

    time: str
    amount: float
    effect: Literal["balance", "escrow", "hold"]
    purpose: str
    why: str
    counterparty: str | None = None
    request_id: str | None = None
    job_id: str | None = None
    lines: list[PriceLine] | None = None


class KudosHistory(Struct, kw_only=True):
    """A page of an account's history, newest first. `next` is the cursor of the page after."""

    entries: list[HistoryEntry] = field(default_factory=list)
    next: str | None = None
