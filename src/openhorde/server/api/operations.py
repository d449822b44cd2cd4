# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an operation is, as it is declared in the tables of `api/v2`.

Routes, documents, rate limits and the check of privileges are all made from these declarations;
`table.py` puts them together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Send

from openhorde.server.api.budget import BodyBudget
from openhorde.server.domain.refusals import Refusal

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde
    from openhorde.server.store.users import Account

BODY_BYTES_MAX = 64 << 10
BODY_BYTES_MAX_POP = 256 << 10
BODY_BYTES_MAX_PICTURES = 24 << 20
BODY_BYTES_MAX_PICTURES_ANONYMOUS = 8 << 20
BODY_BYTES_MAX_TEXTS = 12 << 20
BODY_BYTES_MAX_TEXTS_ANONYMOUS = 1 << 20
CLIENT_AGENT_LENGTH_MAX = 1_000
BODY_SECONDS = 30.0
"""So long a body may take to come, and longer by what BODY_BYTES_PER_SECOND_MIN grants it for the
bytes that have come."""

BODY_BYTES_PER_SECOND_MIN = 16 << 10


class Who(Enum):
    """Whose key an operation asks for. The anonymous key is a user's key too."""

    ANYONE = "anyone; a key is ignored"
    OPTIONAL = "anyone; a key that is sent must be known"
    KNOWN = "a user; a missing key is answered like an unknown one"
    SELF = "whose key it is: a key that nobody has names no user, a missing one is unknown"
    USER = "a user"
    MODERATOR = "a moderator"


class Bucket(Enum):
    """What a rate limit counts by. Every bucket is further divided by operation."""

    ADDRESS = "address"
    ADDRESS_AND_PATH = "address and path"
    KEY_AND_PATH = "key and path"


@dataclass(frozen=True, slots=True)
class Limit:
    """So many calls in a fixed window: `rate` reads like "90/minute" or "2/second".

    `rate_anonymous` holds instead for callers without a key or with the anonymous one, and
    `rate_welcome` for everybody at a welcome address (see `Operation`).
    """

    rate: str
    bucket: Bucket = Bucket.ADDRESS
    rate_anonymous: str | None = None
    rate_welcome: str | None = None


DEFAULT_LIMITS = (Limit("90/minute"),)


@dataclass(slots=True)
class Answer:
    """A handler's answer where the value alone does not say it all.

    A value of type `bytes` is sent as it is; anything else as JSON.
    """

    value: object
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = "application/json; charset=utf-8"


class Invalid(Exception):
    """What was sent does not fit its declaration: `errors` says per field what is wrong."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(errors)
        self.errors = dict(errors)


class TooSlow(Exception):
    """The body of a call did not come in time."""


class Call:
    """One call of an operation: who, from where, with what.

    `body` and `query` are of the operation's declared types (None where it declares none; raw
    bytes where it declares `bytes`), `path` holds the parameters of the path. `client_address`,
    `url_root` and `prefix` are as of `addresses.Surroundings`, `api_key` is what was sent, or "".
    `headers` has lower-case names.
    `in_flight` calls are being served by this process, this one included. `has_left` says whether
    the caller has hung up; `unheard` is done when it had before the answer was written.
    """

    __slots__ = (
        "account",
        "api_key",
        "body",
        "budget",
        "client_address",
        "client_agent",
        "has_left",
        "headers",
        "held_bytes",
        "horde",
        "in_flight",
        "path",
        "prefix",
        "query",
        "query_string",
        "receive",
        "unheard",
        "url_root",
    )

    def __init__(
        self,
        *,
        horde: Horde,
        headers: Mapping[bytes, bytes],
        path: Mapping[str, str],
        query_string: str,
        client_address: str,
        url_root: str,
        receive: Receive,
        prefix: str = "",
        in_flight: int = 1,
        budget: BodyBudget | None = None,
        has_left: Callable[[], bool] | None = None,
    ) -> None:
        self.horde = horde
        self.headers = headers
        self.path = path
        self.query_string = query_string
        self.client_address = client_address
        self.url_root = url_root
        self.prefix = prefix
        self.receive = receive
        self.in_flight = in_flight
        self.budget = budget
        self.held_bytes = 0
        agent = headers.get(b"client-agent", b"unknown:0:unknown")
        self.client_agent = agent[:CLIENT_AGENT_LENGTH_MAX].decode("latin-1")
        self.api_key = headers.get(b"apikey", b"").decode("latin-1")
        self.has_left = has_left or _stays
        self.unheard: Callable[[], Awaitable[None]] | None = None
        self.account: Account | None = None
        self.body: Any = None
        self.query: Any = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes in, for operations that declare none and read it themselves.

        What has come counts as held until the call has ended.

        Raises TooSlow, BodiesTooMany, and ClientDisconnect.
        """
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        more = True
        while more:
            try:
                async with asyncio.timeout_at(deadline):
                    message = await self.receive()
            except TimeoutError:
                raise TooSlow from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            self.hold(len(part))
            deadline += len(part) / BODY_BYTES_PER_SECOND_MIN
            yield part
            more = message.get("more_body", False)

    def hold(self, size: int) -> None:
        """Count more bytes as held until the call lets go. Raises BodiesTooMany."""
        if self.budget is not None:
            self.budget.take(self.client_address, size)
            self.held_bytes += size

    def let_go(self) -> None:
        """Nothing of the body, or of the answer, is held any more."""
        if self.budget is not None:
            self.budget.give_back(self.client_address, self.held_bytes)
            self.held_bytes = 0

    def telling(self, send: Send) -> Send:
        """`send`, which looks whether the caller is still there right before the answer begins.

        A look afterwards would say nothing: who has heard an answer may hang up, and the server
        itself closes the connection of a caller who asks for it.
        """
        unheard = self.unheard
        if unheard is None:
            return send

        async def send_to_who_is_there(message: Message) -> None:
            if message["type"] == "http.response.start" and self.has_left():
                await asyncio.shield(unheard())
            await send(message)

        return send_to_who_is_there

    async def hung_up(self) -> None:
        """Return when the caller has hung up, or was answered. The body must have been read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    @property
    def caller(self) -> Account:
        """The account of the caller, where the operation asks for a user."""
        if self.account is None:
            raise Refusal("InvalidAPIKey")
        return self.account


def _stays() -> bool:
    """Whether a caller has left of whose connection nothing is known."""
    return False


Handler = Callable[[Call], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path, and all that is known about it.

    `path` may hold parameters: `{id}` is one segment, `{key:path}` the whole rest. `body` and
    `query` are msgspec structs (`body` may be `bytes`: taken as it is), and a body has at most
    `body_bytes_max` bytes, or `body_bytes_max_anonymous` from callers without an account of their
    own. Operations that move kudos, delete something by their body or change what somebody may do
    are `refuses_null`: a null is refused where elsewhere it counts as absent. `answer` is what
    success carries, `answers` what other statuses of success carry. `refusals` are the codes of
    `words.py` that its callers should expect. Several `limits` all hold; none at all exempts.
    An answer to a caller without a key is given again for `cache_seconds`. `media_type` is that of
    `answer`.
    Success of one that `welcomes` makes the address of a trusted, service or education user
    welcome for a day. `tag` groups the document; operations tagged "" are not in it.
    """

    name: str
    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    who: Who = Who.ANYONE
    body: Any = None
    query: type | None = None
    answer: Any = None
    status: int = 200
    answers: Mapping[int, Any] = field(default_factory=dict)
    limits: tuple[Limit, ...] = DEFAULT_LIMITS
    refusals: tuple[str, ...] = ()
    body_bytes_max: int = BODY_BYTES_MAX
    body_bytes_max_anonymous: int = BODY_BYTES_MAX
    refuses_null: bool = False
    cache_seconds: float = 0
    media_type: str = "application/json"
    welcomes: bool = False


def uuid_of(text: str, code: str) -> UUID:
    """Read an id from a path; what is no UUID names nothing, so it is refused with `code`."""
    try:
        return UUID(text)
    except ValueError:
        raise Refusal(code, id=text) from None
