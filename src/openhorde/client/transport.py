# SPDX-License-Identifier: AGPL-3.0-or-later
"""HTTP to one horde: headers, JSON, errors, and patience with rate limits and short outages."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from openhorde.client.errors import HordeError, HordeUnreachable
from openhorde.wire.errors import Error

Answer = TypeVar("Answer")
Sleep = Callable[[float], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 8.0
RETRY_AFTER_MAX_SECONDS = 60.0
RATE_LIMITED_MAX = 20


class Transport:
    """Speaks to `url`. `outage_seconds` is how long patient calls wait for a horde to come back."""

    def __init__(
        self,
        url: str,
        api_key: str,
        client_agent: str,
        *,
        outage_seconds: float = 60.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.url = horde_root(url)
        self.headers = {"apikey": api_key, "Client-Agent": client_agent}
        self.outage_seconds = outage_seconds
        self.sleep = sleep
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(30.0, connect=10.0),
            follow_redirects=False,
            # A proxy from the environment would be asked for this machine's own loopback.
            trust_env=urlsplit(self.url).hostname not in LOOPBACK,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def call(
        self,
        answer: type[Answer],
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """One call of the API; the JSON answer becomes `answer`."""
        headers = self.headers
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            headers = {**headers, "Content-Type": "application/json"}
        response = await self._send(
            method, f"{self.url}/api/v2/{path}", content=content, headers=headers, params=query
        )
        if response.status_code >= 400:
            raise _refusal(response)
        try:
            return msgspec.json.decode(response.content, type=answer)
        except msgspec.DecodeError as error:
            raise HordeError(
                response.status_code,
                None,
                f"{method} {path} of {self.url} answered something this client does not "
                f"understand ({error}). Is it a horde with the v2 API?",
            ) from error

    async def call_patiently(
        self, answer: type[Answer], method: str, path: str, *, outages: bool = True
    ) -> Answer:
        """`call`, again and again while the horde asks to slow down or is away for a moment."""
        return await self.patiently(lambda: self.call(answer, method, path), outages=outages)

    async def patiently(
        self, attempt: Callable[[], Awaitable[Answer]], *, outages: bool = True
    ) -> Answer:
        """Repeat `attempt` after passing failures.

        Rate limits are waited for a few times; outages, if at all, until `outage_seconds` are over.
        """
        away_seconds = 0.0
        limited = 0
        backoff_seconds = BACKOFF_FIRST_SECONDS
        while True:
            try:
                return await attempt()
            except HordeError as error:
                if not error.passing:
                    raise
                pause_seconds = error.retry_after_seconds or backoff_seconds
                if error.status == 429:
                    limited += 1
                    if limited > RATE_LIMITED_MAX:
                        raise
                elif not outages or away_seconds >= self.outage_seconds:
                    raise
                else:
                    away_seconds += pause_seconds
            await self.sleep(pause_seconds)
            backoff_seconds = min(backoff_seconds * 2, BACKOFF_MAX_SECONDS)

    async def download(self, url: str) -> bytes:
        """A picture from object storage. The API key stays at home: the host may be another's."""
        response = await self._send("GET", str(httpx.URL(self.url).join(url)), redirects=True)
        if response.status_code >= 400:
            raise HordeError(
                response.status_code,
                None,
                f"The picture at {url} could not be fetched (HTTP {response.status_code}).",
            )
        return response.content

    async def _send(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        redirects: bool = False,
    ) -> httpx.Response:
        try:
            return await self._http.request(
                method,
                url,
                content=content,
                headers=headers,
                params=params,
                follow_redirects=redirects,
            )
        except httpx.InvalidURL as error:
            raise HordeError(0, None, f"{url!r} is not a URL ({error}).") from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise HordeUnreachable(self.url, reason) from error


def horde_root(url: str) -> str:
    """The horde's address without `/api` or `/api/v2`, which people paste along."""
    root = url.strip().rstrip("/")
    if not root.startswith(("http://", "https://")):
        raise HordeError(
            0, None, f"The horde's URL must begin with http:// or https://, not {url!r}."
        )
    return root.removesuffix("/v2").removesuffix("/api").rstrip("/")


def _refusal(response: httpx.Response) -> HordeError:
    retry_after_seconds = _retry_after_seconds(response.headers.get("Retry-After"))
    try:
        error = msgspec.json.decode(response.content, type=Error, strict=False)
    except msgspec.DecodeError:
        error = Error(message=f"{response.url} answered HTTP {response.status_code}.")
    return HordeError(
        response.status_code,
        error.rc,
        error.message,
        error.errors,
        retry_after_seconds=retry_after_seconds,
    )


def _retry_after_seconds(header: str | None) -> float | None:
    """Seconds or a date, as RFC 9110 allows; never more than a minute, never negative."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = (when.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_SECONDS)
