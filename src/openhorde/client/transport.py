# SPDX-License-Identifier: AGPL-3.0-or-later
"""HTTP to one horde: headers, JSON, errors, and patience with rate limits and short outages."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
from httpx_sse import EventSource, ServerSentEvent, SSEError, aconnect_sse

from openhorde.client.errors import HordeError, HordeUnreachable, PictureUnreachable
from openhorde.incoming.answers import AnswerRefused, bounded_client, retry_after_seconds
from openhorde.incoming.texts import decode_json, encode_json
from openhorde.wire.errors import Error

Answer = TypeVar("Answer")
Sleep = Callable[[float], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 8.0
RETRY_AFTER_SECONDS_MAX = 60.0
RATE_LIMITED_MAX = 20
FULL_STATUSES = (429, 503)
CALL_SECONDS_MAX = 30.0
CONNECT_SECONDS_MAX = 10.0
STREAM_SILENCE_SECONDS_MAX = 45.0
"""A living stream says something at least every 15 seconds, if only a comment."""


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
        self.headers = {
            "apikey": api_key,
            "Client-Agent": client_agent,
            "Openhorde-Extras": "1",
        }
        self.outage_seconds = outage_seconds
        self.sleep = sleep
        self._http = bounded_client(
            timeout=httpx.Timeout(CALL_SECONDS_MAX, connect=CONNECT_SECONDS_MAX),
            # Each watched request holds one: with a limit, many would leave none for other calls.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
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
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One call of the API; the JSON answer becomes `answer`."""
        found, _ = await self.exchange(
            answer, method, path, body=body, query=query, headers=headers
        )
        return found

    async def exchange(
        self,
        answer: type[Answer],
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        held_seconds: float = 0.0,
    ) -> tuple[Answer, Mapping[str, str]]:
        """`call`, with the headers that came; the horde may hold it for `held_seconds`."""
        headers = {**self.headers, **(headers or {})}
        content = None
        if body is not None:
            content = encode_json(body)
            headers = {**headers, "Content-Type": "application/json"}
        response = await self._send(
            method,
            f"{self.url}/api/v2/{path}",
            content=content,
            headers=headers,
            params=query,
            seconds_max=CALL_SECONDS_MAX + held_seconds,
        )
        if response.status_code >= 400:
            raise _refusal(response)
        try:
            return _read(response.content, answer), response.headers
        except msgspec.DecodeError as error:
            raise HordeError(
                response.status_code,
                None,
                f"{method} {path} of {self.url} answered something this client does not "
                f"understand ({error}). Is it a horde with the v2 API?",
            ) from error

    async def events(self, path: str, last_event_id: str) -> AsyncGenerator[ServerSentEvent, None]:
        """One stream of events, from after `last_event_id` on, until the horde closes it.

        Raises NoStream when there is none, LineCut when it breaks off or falls silent, another
        passing HordeError when the horde is away.
        """
        headers = dict(self.headers)
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        url = f"{self.url}/api/v2/{path}"
        timeout = httpx.Timeout(STREAM_SILENCE_SECONDS_MAX, connect=CONNECT_SECONDS_MAX)
        try:
            async with aconnect_sse(
                self._http, "GET", url, headers=headers, timeout=timeout
            ) as source:
                await _expect_stream(source)
                async with aclosing(source.aiter_sse()) as events:
                    async for event in events:
                        yield event
        except (SSEError, AnswerRefused) as error:
            raise NoStream(str(error)) from error
        except httpx.TransportError as error:
            absent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            reason = str(error) or type(error).__name__
            raise (HordeUnreachable if absent else LineCut)(self.url, reason) from error

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
        patience = Patience(self.outage_seconds if outages else None, self.sleep)
        while True:
            try:
                return await attempt()
            except HordeError as error:
                await patience.bear(error)

    async def download(self, url: str, bytes_max: int | None = None) -> bytes:
        """A picture from object storage or the web. Of one that is longer than `bytes_max`, if that
        is given, come that many bytes and one more.

        The API key stays at home: the host may be another's.
        """
        content = bytearray()
        try:
            request = self._http.stream("GET", httpx.URL(self.url).join(url), follow_redirects=True)
            async with request as response:
                if response.status_code >= 400:
                    raise HordeError(
                        response.status_code,
                        None,
                        f"The picture at {url} could not be fetched (HTTP {response.status_code}).",
                    )
                async for part in response.aiter_bytes():
                    content += part
                    if bytes_max is not None and len(content) > bytes_max:
                        return bytes(content[: bytes_max + 1])
        # UnicodeError: a name in ASCII dress that stands for no other.
        except (httpx.InvalidURL, UnicodeError) as error:
            raise HordeError(0, None, f"{url!r} is not a URL ({error}).") from error
        except httpx.TransportError as error:
            raise PictureUnreachable(url, str(error) or type(error).__name__) from error
        except httpx.RequestError as error:
            raise HordeError(0, None, f"The picture at {url} is not sent ({error}).") from error
        return bytes(content)

    async def _send(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        seconds_max: float = CALL_SECONDS_MAX,
    ) -> httpx.Response:
        try:
            return await self._http.request(
                method,
                url,
                content=content,
                headers=headers,
                params=params,
                timeout=httpx.Timeout(seconds_max, connect=CONNECT_SECONDS_MAX),
            )
        # UnicodeError: a name in ASCII dress that stands for no other.
        except (httpx.InvalidURL, UnicodeError) as error:
            raise HordeError(0, None, f"{url!r} is not a URL ({error}).") from error
        except AnswerRefused as error:
            raise HordeError(0, None, f"{self.url} cannot be understood: {error}.") from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise HordeUnreachable(self.url, reason) from error


class Patience:
    """Waits out passing failures in a row, each pause longer than the one before.

    Rate limits are borne a few times; outages until `outage_seconds` are over, None bears none.
    """

    def __init__(self, outage_seconds: float | None, sleep: Sleep) -> None:
        self._outage_seconds = outage_seconds
        self._sleep = sleep
        self.reset()

    def reset(self) -> None:
        """Something went well: from here on it is a new row of failures."""
        self._away_seconds = 0.0
        self._limited = 0
        self._backoff_seconds = BACKOFF_FIRST_SECONDS

    async def bear(self, error: HordeError) -> None:
        """Sleep until the next attempt; raises `error` when it does not pass, or goes on long."""
        if not error.passing:
            raise error
        pause_seconds = error.retry_after_seconds or self._backoff_seconds
        if error.status == 429:
            self._limited += 1
            if self._limited > RATE_LIMITED_MAX:
                raise error
        elif self._outage_seconds is None or self._away_seconds >= self._outage_seconds:
            raise error
        else:
            self._away_seconds += pause_seconds
        await self._sleep(pause_seconds)
        self._backoff_seconds = min(self._backoff_seconds * 2, BACKOFF_MAX_SECONDS)


class LineCut(HordeUnreachable):
    """The horde was there, and then the line broke."""


class NoStream(Exception):
    """The horde has no stream of events to give; the message says why."""


def horde_root(url: str) -> str:
    """The horde's address without `/api` or `/api/v2`, which people paste along."""
    root = url.strip().rstrip("/")
    if not root.startswith(("http://", "https://")):
        raise HordeError(
            0, None, f"The horde's URL must begin with http:// or https://, not {url!r}."
        )
    return root.removesuffix("/v2").removesuffix("/api").rstrip("/")


def _read(content: bytes, answer: type[Answer]) -> Answer:
    """An explicit null counts as absent: some hordes fill with nulls what they leave open.

    That is tried only where the strict reading fails.
    """
    try:
        return decode_json(content, answer)
    except msgspec.ValidationError:
        return msgspec.convert(_without_nulls(decode_json(content)), answer)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value


async def _expect_stream(source: EventSource) -> None:
    """Raises NoStream for whatever else was answered, or HordeError when it may pass."""
    if source.response.status_code == 200:
        return
    await source.response.aread()
    refusal = _refusal(source.response)
    # What is full is the room for open lines: asking in another way helps at once.
    if refusal.passing and refusal.status not in FULL_STATUSES:
        raise refusal
    raise NoStream(str(refusal))


def _refusal(response: httpx.Response) -> HordeError:
    try:
        error = decode_json(response.content, Error, strict=False)
    except msgspec.DecodeError:
        error = Error(message=f"{response.url} answered HTTP {response.status_code}.")
    return HordeError(
        response.status_code,
        error.rc,
        error.message,
        error.errors,
        retry_after_seconds=retry_after_seconds(response, RETRY_AFTER_SECONDS_MAX),
    )
