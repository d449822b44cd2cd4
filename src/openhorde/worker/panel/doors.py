# SPDX-License-Identifier: AGPL-3.0-or-later
"""What stands before the panel: nothing behind it is seen or done by whoever has not logged in."""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from html import escape
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openhorde.worker.panel.door_pages import (
    CROWDED,
    WRONG,
    login_page,
    password_page,
    retried_later,
)
from openhorde.worker.panel.passwords import Password, PasswordUnusable
from openhorde.worker.panel.tries import Crowded, Tries

COOKIE = "openhorde_panel"
SESSION_SECONDS = 7 * 24 * 3600.0
SESSIONS_MAX = 64
FORM_BYTES_MAX = 4096
# What the page needs of Gradio; the rest (files, uploads, proxying, documents) stays closed.
OPEN_PATHS = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|pwa_icon(/\d+)?)"
    r"|/(assets|static|svelte|_app)/[\w./-]+"
    r"|/gradio_api/(startup-events|app_id|queue/(join|data)|heartbeat/\w+|cancel|reset)/?"
)
# Whatever Gradio, or a text from outside, might try to fetch: only this very address is asked.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Doors:
    """ASGI: lets the owner in, for a week, and answers everyone else with the login page."""

    def __init__(
        self,
        inside: ASGIApp,
        password: Callable[[], Password],
        keep: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`password` answers the one that holds now; `clock` gives seconds, `pause` waits for some.
        `keep` makes a text the password from now on, or raises PasswordUnusable."""
        self._inside = inside
        self._password = password
        self._keep = keep
        self._clock = clock
        self._tries = Tries(clock, pause)
        # Until when each is good, and the password that opened it: another one ends it.
        self._sessions: dict[str, tuple[float, bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._inside(scope, receive, send)
            return
        request = Request(scope, receive)
        answer = await self._answer(request)
        if answer is not None:
            answer.headers["Cache-Control"] = "no-store"
        to = answer if answer is not None else self._inside
        await to(scope, receive, _with_headers(send))

    async def _answer(self, request: Request) -> Response | None:
        """What the doors say themselves; None lets the call through."""
        path, method = request.url.path, request.method
        if method not in ("GET", "HEAD", "POST"):
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED)
        if method == "POST" and not _from_our_page(request):
            return _refusal(HTTPStatus.FORBIDDEN, "the call comes from another page")
        if path == "/login":
            return await self._login(request) if method == "POST" else login_page()
        if not self._is_in(request):
            wants_page = "text/html" in request.headers.get("accept", "")
            if method == "GET" and wants_page:
                return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
            return _refusal(HTTPStatus.UNAUTHORIZED, "log in first")
        if path == "/password":
            return await self._change(request) if method == "POST" else password_page()
        if path == "/logout" and method == "POST":
            self._sessions.pop(request.cookies[COOKIE], None)
            gone = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
            gone.delete_cookie(COOKIE)
            return gone
        if OPEN_PATHS.fullmatch(path) and ".." not in path:
            return None
        return _refusal(HTTPStatus.NOT_FOUND)

    def _is_in(self, request: Request) -> bool:
        until, digest = self._sessions.get(request.cookies.get(COOKIE, ""), (0.0, b""))
        return self._clock() < until and digest == self._password().digest

    async def _login(self, request: Request) -> Response:
        form = await _form(request)
        if form is None:
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return await self._wrong(request, form, login_page) or self._welcome(request)

    async def _change(self, request: Request) -> Response:
        """A new password, for whoever knows the present one; they alone stay logged in."""
        form = await _form(request)
        if form is None:
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        wrong = await self._wrong(request, form, password_page)
        if wrong is not None:
            return wrong
        if form.get("fresh") != form.get("again"):
            return password_page("The two new ones are not the same.", HTTPStatus.BAD_REQUEST)
        try:
            await asyncio.to_thread(self._keep, form.get("fresh", ""))
        except PasswordUnusable as error:
            return password_page(escape(str(error)), HTTPStatus.BAD_REQUEST)
        return self._welcome(request)

    async def _wrong(
        self,
        request: Request,
        form: dict[str, str],
        page: Callable[[str, HTTPStatus], Response],
    ) -> Response | None:
        """The page that says what is wrong with the password given; None if nothing is."""
        address = request.client.host if request.client else ""
        try:
            async with self._tries.turn(address):
                # Counted before it is checked: tries made at the same time count too.
                self._tries.failed(address)
                given = form.get("password", "")
                if not await asyncio.to_thread(self._password().matches, given):
                    return page(WRONG, HTTPStatus.FORBIDDEN)
        except Crowded:
            return retried_later(page(CROWDED, HTTPStatus.TOO_MANY_REQUESTS))
        self._tries.succeeded(address)
        return None

    def _welcome(self, request: Request) -> Response:
        """Into the panel, with a session of its own."""
        welcome = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        welcome.set_cookie(
            COOKIE,
            self._open_session(self._password()),
            max_age=int(SESSION_SECONDS),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return welcome

    def _open_session(self, password: Password) -> str:
        now = self._clock()
        self._sessions = {
            token: session for token, session in self._sessions.items() if session[0] > now
        }
        while len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        token = secrets.token_urlsafe(32)
        self._sessions[token] = (now + SESSION_SECONDS, password.digest)
        return token


def _refusal(status: HTTPStatus, words: str | None = None) -> Response:
    return PlainTextResponse(words or status.phrase.lower(), status)


def _from_our_page(request: Request) -> bool:
    """Whether a browser says that the call comes from this very address.

    Cookies do not tell ports apart, so that another local server's page could call us with them.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of the form; None when it is larger than any of ours."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > FORM_BYTES_MAX:
                return None
    except ClientDisconnect:
        return None
    fields = parse_qs(body.decode(errors="replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return sending
