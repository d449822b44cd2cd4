# SPDX-License-Identifier: AGPL-3.0-or-later
"""Users: accounts as the v2 wire shows them."""

from typing import Annotated

from msgspec import Meta, Struct, field


class KudosDetails(Struct, kw_only=True):
    """A balance's totals by where the kudos came from or went."""

    accumulated: float = 0
    gifted: float = 0
    donated: float = 0
    admin: float = 0
    received: float = 0
    recurring: float = 0
    awarded: float = 0
    styled: float = 0


class MonthlyKudos(Struct, kw_only=True):
    """The monthly grant and when it was last paid."""

    amount: int = 0
    last_received: str | None = None


class ActiveGenerations(Struct, kw_only=True):
    """Ids of the requests an account has open, by kind."""

    image: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    alchemy: list[str] = field(default_factory=list)


class ThingRecords(Struct, kw_only=True):
    """Amounts of work."""

    megapixelsteps: float = 0
    tokens: int = 0


class AmountRecords(Struct, kw_only=True):
    """Counts of jobs by kind."""

    image: int = 0
    text: int = 0
    interrogation: int = 0


class Records(Struct, kw_only=True):
    """What an account has asked of the horde and done for it."""

    usage: ThingRecords = field(default_factory=ThingRecords)
    contribution: ThingRecords = field(default_factory=ThingRecords)
    fulfillment: AmountRecords = field(default_factory=AmountRecords)
    request: AmountRecords = field(default_factory=AmountRecords)
    style: AmountRecords = field(default_factory=AmountRecords)


class Usage(Struct, kw_only=True):
    """Obsolete on the wire, but clients read it."""

    megapixelsteps: float = 0
    requests: int = 0


class Contributions(Struct, kw_only=True):
    """Obsolete on the wire, but clients read it."""

    megapixelsteps: float = 0
    fulfillments: int = 0


class UserDetails(Struct, kw_only=True):
    """An account. Fields that the caller may not see are null. `account_age` in seconds."""

    username: str
    id: int
    kudos: float
    concurrency: int
    worker_invited: int
    moderator: bool
    trusted: bool
    flagged: bool
    pseudonymous: bool
    worker_count: int
    account_age: int
    kudos_details: KudosDetails = field(default_factory=KudosDetails)
    records: Records = field(default_factory=Records)
    usage: Usage = field(default_factory=Usage)
    contributions: Contributions = field(default_factory=Contributions)
    service: bool = False
    deleted: bool = False
    education: bool = False
    customizer: bool = False
    styles: list[dict[str, str]] = field(default_factory=list)
    worker_ids: list[str] | None = None
    sharedkey_ids: list[str] | None = None
    contact: str | None = None
    vpn: bool | None = None
    special: bool | None = None
    active_generations: ActiveGenerations | None = None
    evaluating_kudos: float | None = None
    monthly_kudos: MonthlyKudos | None = None
    suspicious: int | None = None
    admin_comment: str | None = None
    proxy_passkey: str | None = None


class UserEdit(Struct, kw_only=True):
    """Body of `PUT users/{id}`: what is to change. `kudos` and `monthly_kudos` are added."""

    kudos: Annotated[float, Meta(ge=-1e12, le=1e12)] | None = None
    monthly_kudos: Annotated[int, Meta(ge=-(10**12), le=10**12)] | None = None
    usage_multiplier: Annotated[float, Meta(ge=0.1, le=10)] | None = None
    moderator: bool | None = None
    concurrency: Annotated[int, Meta(ge=0, le=500)] | None = None
    worker_invited: Annotated[int, Meta(ge=-(2**31), lt=2**31)] | None = None
    trusted: bool | None = None
    flagged: bool | None = None
    customizer: bool | None = None
    vpn: bool | None = None
    service: bool | None = None
    education: bool | None = None
    special: bool | None = None
    reset_suspicion: bool | None = None
    admin_comment: Annotated[str, Meta(min_length=5, max_length=500)] | None = None
    public_workers: bool | None = None
    username: Annotated[str, Meta(min_length=3, max_length=100)] | None = None
    contact: Annotated[str, Meta(min_length=5, max_length=500)] | None = None


class UserEdited(Struct, kw_only=True, omit_defaults=True):
    """Answer of `PUT users/{id}`: only what has changed, as it is now."""

    new_kudos: float | None = None
    monthly_kudos: int | None = None
    usage_multiplier: float | None = None
    moderator: bool | None = None
    concurrency: int | None = None
    worker_invited: int | None = None
    trusted: bool | None = None
    flagged: bool | None = None
    customizer: bool | None = None
    vpn: bool | None = None
    service: bool | None = None
    education: bool | None = None
    special: bool | None = None
    new_suspicion: int | None = None
    admin_comment: str | None = None
    public_workers: bool | None = None
    username: str | None = None
    contact: str | None = None
