# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ASGI application: takes calls apart, hands them to their operation, answers in JSON.

By hand rather than in layers of middleware: it stands in front of every job's five calls, and so
what can be made once, at the start, is (routes, decoders, header lists).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from openhorde import __version__
from openhorde.server.api.addresses import Lookout, Surroundings
from openhorde.server.api.auth import identify, require_key
from openhorde.server.api.bodies import BodyReader, read_query
from openhorde.server.api.budget import BodiesTooMany, BodyBudget
from openhorde.server.api.operations import Answer, Call, Invalid, Operation, TooSlow
from openhorde.server.api.outages import is_database_away, is_unstorable
from openhorde.server.api.pages.layout import page
from openhorde.server.api.receiving import BodyTooLarge, Receiver
from openhorde.server.api.routes import Routes
from openhorde.server.api.sending import held_answer, send_body, too_many
from openhorde.server.api.table import OPERATIONS
from openhorde.server.api.throttle import Counts, Throttle, Throttled, windows_of
from openhorde.server.api.words import refusal_answer
from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.disk import is_disk_full
from openhorde.server.kit.shared_counts import SharedCounts, share_memory
from openhorde.server.store.blobs import link_root
from openhorde.wire.errors import Error

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde

Lifespan = Callable[[], AbstractAsyncContextManager[None]]

_METHODS = "POST, GET, OPTIONS, PUT, DELETE, PATCH, HEAD"
_CROSS_ORIGIN = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", _METHODS),
    (
        "Access-Control-Allow-Headers",
        "Accept, apikey, Authorization, Cache-Control, Client-Agent, Content-Type,"
        " Idempotency-Key, Last-Event-ID, Openhorde-Extras, Proxied-For, Proxy-Authorization,"
        " X-Fields, X-Forwarded-For",
    ),
    (
        "Access-Control-Expose-Headers",
        "Event-Id, Horde-Node, Retry-After,"
        " X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset,"
        " RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy",
    ),
    ("Access-Control-Max-Age", "86400"),
)
_NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
_SLASHES = re.compile("/{2,}")
_REMEMBERED_MAX = 1_000
_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger("openhorde.api")


class _Served:
    """An operation with all that can be prepared for its calls."""

    __slots__ = ("operation", "reader", "windows")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.reader = None
        if operation.body is not None and operation.body is not bytes:
            self.reader = BodyReader(operation.body, refuses_null=operation.refuses_null)
        self.windows = windows_of(operation.limits) if operation.limits else None


class Application:
    """The server's HTTP side, as an ASGI application."""

    def __init__(
        self,
        horde: Horde,
        operations: Iterable[Operation],
        lifespan: Lifespan | None,
        counts: Counts | None,
        process: int | None,
    ) -> None:
        self._horde = horde
        self._lookout = Lookout(horde.settings)
        self._lifespan = lifespan
        self._in_flight = 0
        self._budget = BodyBudget()
        self._receiver = Receiver()
        self._remembered: OrderedDict[tuple[str, str], tuple[float, Answer]] = OrderedDict()
        settings = horde.settings
        self._throttle: Throttle | None = None
        if settings.rate_limits:
            now: Callable[[], float] = lambda: horde.clock.now().timestamp()  # noqa: E731
            self._throttle = Throttle(counts or Counts(SharedCounts(share_memory(), now)), now)
        self._routes: Routes[_Served] = Routes()
        for operation in operations:
            self._routes.add(operation.method, operation.path, _Served(operation))
        node = ("Horde-Node", _node(settings.public_url, process))
        self._common = _raw_headers((*_CROSS_ORIGIN, _NO_SNIFFING, node))
        # Links that lead to where the caller came from must not be shown to others.
        self._own_caching = [] if settings.public_url else [(b"cache-control", b"no-store")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI asks."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        if self._lifespan is None:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        else:
            try:
                context = self._lifespan()
                await context.__aenter__()
            except Exception as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                raise
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await context.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        # Redirecting would lose the body of a POST: a slash at the end is just not there.
        if len(path) > 1 and path.endswith("/"):
            path = path.rstrip("/") or "/"
        method: str = scope["method"]
        limits: tuple[tuple[str, str], ...] = ()
        found = self._routes.find(path)
        if found is None and "//" in path:
            # An address that ends in a slash, joined with a path that begins with one.
            path = _SLASHES.sub("/", path)
            found = self._routes.find(path)
        headers = dict(scope["headers"])
        near = self._lookout.look(scope, headers)
        if found is None and near.prefix and path.startswith(near.prefix):
            # A proxy that passes the path on with the part that is its own.
            path = path.removeprefix(near.prefix) or "/"
            found = self._routes.find(path)
        if found is None:
            missing = Answer(b"") if method == "OPTIONS" else _missing(path, headers, near.prefix)
            await self._send(scope, send, missing, limits)
            return
        methods, parameters = found
        served = methods.get("GET" if method == "HEAD" else method)
        if served is None:
            await self._send(scope, send, _not_served(method, path, methods), limits)
            return
        link_root.set(near.url_root)
        call = self._call(scope, receive, headers, parameters, near)
        try:
            if self._throttle is not None and served.windows is not None:
                limits = await self._throttle.admit(
                    served.operation, served.windows, call, f"{method} {path}"
                )
            answer: Answer | Response = await self._answer(served, call, path)
            if served.operation.welcomes:
                self._welcome(call)
        except ClientDisconnect:
            return
        except Exception as error:
            if is_disk_full(error):
                self._horde.disk.note_full()
            answer = _answer_error(error, method, path)
        finally:
            call.let_go()
        if isinstance(answer, Response):
            await answer(scope, receive, self._with_headers(send, limits))
        else:
            if method == "GET":  # What has changed something is told in any case.
                answer = held_answer(call, answer)
            try:
                await self._send(scope, call.telling(send), answer, limits)
            finally:
                call.let_go()

    def _call(
        self,
        scope: Scope,
        receive: Receive,
        headers: Mapping[bytes, bytes],
        parameters: Mapping[str, str],
        near: Surroundings,
    ) -> Call:
        return Call(
            horde=self._horde,
            headers=headers,
            path=parameters,
            query_string=scope["query_string"].decode("latin-1"),
            client_address=near.client_address,
            url_root=near.url_root,
            prefix=near.prefix,
            receive=receive,
            budget=self._budget,
            has_left=scope.get("state", {}).get("has_left"),
        )

    async def _answer(self, served: _Served, call: Call, path: str) -> Answer | Response:
        """Perform a call, or give the answer again that another one just got."""
        seconds = served.operation.cache_seconds
        if not seconds or call.api_key:
            return await self._perform(served, call)
        now = self._horde.clock.now().timestamp()
        key = (path, call.query_string)
        known = self._remembered.get(key)
        if known is not None and 0 <= now - known[0] < seconds:
            return known[1]
        answer = await self._perform(served, call)
        if isinstance(answer, Answer):
            answer.value = _encode(answer.value)
            self._remembered[key] = (now, answer)
            self._remembered.move_to_end(key)
            if len(self._remembered) > _REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        return answer

    def forget_answers(self) -> None:
        """What answers were made from has been edited: give none of them again."""
        self._remembered.clear()

    def let_go(self) -> None:
        """Answer all calls that are held, and hold no more: the server stops."""
        self._horde.waiters.close()
        self._horde.watches.close()

    def _welcome(self, call: Call) -> None:
        """A call has had success that may make its address welcome."""
        caller = call.account
        if (
            self._throttle is not None
            and caller is not None
            and (caller.trusted or caller.service or caller.education)
        ):
            self._throttle.welcome(call)

    async def _perform(self, served: _Served, call: Call) -> Answer | Response:
        """Check who calls, read what was sent, and do it. What is wrong is raised, in this order:
        nothing is read of those whom nobody knows.

        A call is in flight once it has been read: a caller who sends slowly keeps nothing busy.
        """
        operation = served.operation
        require_key(operation.who, call)
        await identify(operation.who, call)
        if operation.body is not None:
            call.body = await self._receiver.receive(call, operation, served.reader)
        if operation.query is not None:
            call.query = read_query(operation.query, call.query_string)
        self._in_flight += 1
        call.in_flight = self._in_flight
        try:
            result = await operation.handler(call)
        finally:
            self._in_flight -= 1
        if isinstance(result, (Answer, Response)):
            return result
        return Answer(result, operation.status)

    async def _send(
        self, scope: Scope, send: Send, answer: Answer, limits: Sequence[tuple[str, str]]
    ) -> None:
        value = answer.value
        body = value if isinstance(value, bytes) else _encode(value)
        caching = () if _says_caching(answer) else self._own_caching
        headers = [
            *self._common,
            *caching,
            (b"content-type", answer.media_type.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        if limits or answer.headers:
            headers += _raw_headers((*limits, *answer.headers))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send_body(send, b"" if scope["method"] == "HEAD" else body)

    def _with_headers(self, send: Send, limits: Sequence[tuple[str, str]]) -> Send:
        """Give a response that sends itself (a stream) our headers too."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    *self._common,
                    *_raw_headers(limits),
                ]
            await send(message)

        return send_with_headers


def create_app(
    horde: Horde,
    *,
    operations: Iterable[Operation] = OPERATIONS,
    lifespan: Lifespan | None = None,
    counts: Counts | None = None,
    process: int | None = None,
) -> Application:
    """The application that serves a horde. `lifespan` is entered while it runs. Calls are counted
    in `counts`, or by the application for itself. Of several processes each has a number."""
    return Application(horde, operations, lifespan, counts, process)


def _answer_error(error: Exception, method: str, path: str) -> Answer:
    if isinstance(error, Refusal):
        status, body = refusal_answer(error)
        retry = error.facts.get("retry_after_seconds")
        return Answer(body, status, (("Retry-After", str(retry)),) if retry else ())
    if isinstance(error, Invalid):
        return Answer(Error(message="Input payload validation failed", errors=error.errors), 400)
    if isinstance(error, Throttled):
        return Answer(Error(message=error.rate), 429, error.headers)
    if isinstance(error, BodyTooLarge):
        message = f"The body is too large: at most {error.limit} bytes are taken."
        if error.limit < error.limit_named:
            message += f" With the key of an account of your own it is {error.limit_named}."
        return Answer(Error(message=message), 413)
    if isinstance(error, BodiesTooMany):
        return too_many(error)
    if isinstance(error, TooSlow):
        message = "The body of the call did not come in time. Please send it faster."
        return Answer(Error(message=message), 408, (("Connection", "close"),))
    if is_unstorable(error):
        # Such as a number that no column holds. Logged, as a rule should have caught it earlier.
        _log.warning("data_refused", method=method, path=path, exc_info=error)
        return _answer_error(Refusal("BadRequest", reason="a value is out of range"), method, path)
    if is_disk_full(error):
        _log.error("disk_full", method=method, path=path, reason=str(error).partition("\n")[0])
        message = "The horde's disk is full. What was stored is safe; please try again later."
        return Answer(Error(message=message), 503, (("Retry-After", "30"),))
    if is_database_away(error):
        _log.warning("database_away", method=method, path=path, reason=type(error).__name__)
        message = "The horde's database is away for a moment. Please try again."
        return Answer(Error(message=message), 503, (("Retry-After", "2"),))
    _log.error("call_failed", method=method, path=path, exc_info=error)
    return Answer(Error(message="Internal Server Error"), 500)


def _missing(path: str, headers: Mapping[bytes, bytes], prefix: str) -> Answer:
    """There is nothing at a path: a page for people, JSON for programs."""
    if b"text/html" in headers.get(b"accept", b"") and not path.startswith("/api/"):
        return page("missing", "Not found", {"path": path}, prefix=prefix, status=404)
    return _failure(404, f"There is nothing at {path}.")


def _says_caching(answer: Answer) -> bool:
    return any(name == "Cache-Control" for name, _ in answer.headers)


def _node(public_url: str, process: int | None) -> str:
    """Who answers, as host:port:version and the number of the process where there are several.

    Host and port are those that the outside uses, or a name that leads nowhere: those that the
    server listens on are nobody's business.
    """
    address = urlsplit(public_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    place = f"{address.hostname}:{port}" if public_url else "openhorde:0"
    return f"{place}:{__version__}" if process is None else f"{place}:{__version__}:{process}"


def _failure(status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(Error(message=message), status, headers)


def _not_served(method: str, path: str, methods: Iterable[str]) -> Answer:
    allowed = sorted({*methods, "OPTIONS", *({"HEAD"} if "GET" in methods else ())})
    headers = (("Allow", ", ".join(allowed)),)
    if method == "OPTIONS":
        return Answer(b"", 200, headers)
    return _failure(405, f"{path} does not take {method}, only {headers[0][1]}.", headers)


def _raw_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
