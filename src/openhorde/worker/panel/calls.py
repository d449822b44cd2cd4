# SPDX-License-Identifier: AGPL-3.0-or-later
"""The horde as the worker's owner calls it: account, workers, and requests of their own."""

from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from openhorde.incoming.answers import bounded_client, retry_after_seconds
from openhorde.incoming.texts import decode_json, encode_json
from openhorde.wire.errors import Error
from openhorde.wire.users import UserDetails
from openhorde.wire.workers import WorkerDetails, WorkerEdit
from openhorde.worker.agent.api import agent_words
from openhorde.worker.settings import WorkerSettings

CALL_SECONDS_MAX = 20.0
RETRY_AFTER_SECONDS_MAX = 60.0

Answer = TypeVar("Answer")


class CallFailed(Exception):
    """The horde refused, or could not be reached or understood; the message is for the owner.

    `status` is the HTTP status of a refusal, else 0; `retry_after_seconds` is 0 unless told.
    """

    def __init__(self, message: str, status: int = 0, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class OwnerCalls:
    """Calls with the owner's key, one attempt each. Each raises CallFailed. Use as a context."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._base = settings.api_url
        headers = {"apikey": settings.api_key, "Client-Agent": agent_words(settings)}
        self._client = bounded_client(headers=headers, timeout=CALL_SECONDS_MAX)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def account(self) -> UserDetails:
        """The owner's account."""
        return await self.call("GET", "find_user", UserDetails)

    async def worker(self, name: str) -> WorkerDetails | None:
        """The worker of this name, or None when the horde has not met it yet."""
        try:
            return await self.call("GET", f"workers/name/{quote(name, safe='')}", WorkerDetails)
        except CallFailed as failure:
            if failure.status == 404:
                return None
            raise

    async def set_maintenance(self, worker_id: str, wanted: bool) -> None:
        """Have the horde give this worker nothing to do, or something again."""
        await self.call("PUT", f"workers/{worker_id}", WorkerEdit, WorkerEdit(maintenance=wanted))

    async def call(
        self, method: str, path: str, answer: type[Answer], body: msgspec.Struct | None = None
    ) -> Answer:
        """One call below /api/v2, its answer read as `answer`."""
        content = encode_json(body) if body is not None else None
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            given = await self._client.request(
                method, f"{self._base}/{path}", content=content, headers=headers
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise CallFailed(f"the horde cannot be reached: {reason}") from error
        if given.status_code >= 300:
            raise _refused(given)
        try:
            return decode_json(given.content, answer)
        except msgspec.DecodeError as error:
            raise CallFailed(f"the horde's answer to {path} is odd: {error}") from error


def _refused(given: httpx.Response) -> CallFailed:
    wait_seconds = retry_after_seconds(given, RETRY_AFTER_SECONDS_MAX) or 0.0
    try:
        error = decode_json(given.content, Error, strict=False)
    except msgspec.DecodeError:
        return CallFailed(
            f"the horde answered {given.status_code}", given.status_code, wait_seconds
        )
    details = "; ".join(f"{name}: {text}" for name, text in (error.errors or {}).items())
    message = f"{error.message} ({details})" if details else error.message
    return CallFailed(message, given.status_code, wait_seconds)
