# SPDX-License-Identifier: AGPL-3.0-or-later
"""HTTP clients that never unpack an answer, nor read more of one than they are told to.

What unpacks has no bound that is known before it is crossed: a kilobyte can become gigabytes. So
answers are asked for unpacked, and refused when they come packed all the same.
"""

import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

ANSWER_BYTES_MAX = 256 << 20
"""What an answer may have unless a client says otherwise: many pictures in base64 fit."""

_UNPACKED = {"Accept-Encoding": "identity"}
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


class AnswerRefused(httpx.RequestError):
    """An answer came packed, or goes beyond its bound; the message says which."""


def bounded_client(bytes_max: int = ANSWER_BYTES_MAX, **options: Any) -> httpx.AsyncClient:
    """An httpx.AsyncClient with these `options`, whose calls raise AnswerRefused."""
    options["headers"] = {**dict(options.get("headers") or {}), **_UNPACKED}

    async def bound(response: httpx.Response) -> None:
        _bound(response, bytes_max)

    return httpx.AsyncClient(event_hooks={"response": [bound]}, **options)


def bounded_blocking_client(bytes_max: int = ANSWER_BYTES_MAX, **options: Any) -> httpx.Client:
    """The same for httpx.Client."""
    options["headers"] = {**dict(options.get("headers") or {}), **_UNPACKED}

    def bound(response: httpx.Response) -> None:
        _bound(response, bytes_max)

    return httpx.Client(event_hooks={"response": [bound]}, **options)


def retry_after_seconds(answer: httpx.Response, seconds_max: float) -> float | None:
    """How long to wait before asking again, from the Retry-After header: seconds or a date.

    At most `seconds_max`; None if the header is absent or is neither.
    """
    text = answer.headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        try:
            moment = parsedate_to_datetime(text)
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            seconds = aware.timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), seconds_max)


def _bound(response: httpx.Response, bytes_max: int) -> None:
    """Called when the head of an answer is there, of a redirect's too."""
    codings = response.headers.get("Content-Encoding", "")
    if any(coding.strip().lower() not in ("", "identity") for coding in codings.split(",")):
        raise AnswerRefused(
            f"the answer comes packed ({codings[:40]}) though it was asked for unpacked",
            request=response.request,
        )
    response.stream = _Counted(response.stream, bytes_max, response.request)


class _Counted(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A stream that breaks off where it goes beyond its bound."""

    def __init__(self, stream: Any, bytes_max: int, request: httpx.Request) -> None:
        self._stream = stream
        self._bytes_left = bytes_max
        self._bytes_max = bytes_max
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            self._count(part)
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with contextlib.aclosing(aiter(self._stream)) as parts:
            async for part in parts:
                self._count(part)
                yield part

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _count(self, part: bytes) -> None:
        self._bytes_left -= len(part)
        if self._bytes_left < 0:
            raise AnswerRefused(
                f"the answer has more than {self._bytes_max} bytes", request=self._request
            )
