# SPDX-License-Identifier: AGPL-3.0-or-later
"""What requests of every kind have in common: handing in, watching, cancelling, fetching."""

import asyncio
import base64
import binascii
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from openhorde.client.errors import HordeError, Impossible
from openhorde.client.kinds import ALCHEMY, IMAGE, Kind, StatusType
from openhorde.client.looks import Look
from openhorde.client.transport import Transport
from openhorde.client.watching import watch
from openhorde.wire.alchemy import AlchemyQueued
from openhorde.wire.requests import RequestQueued, Warning
from openhorde.wire.status import ActiveModel
from openhorde.wire.workers import WorkerDetails

Answer = TypeVar("Answer")
QueuedType = TypeVar("QueuedType", RequestQueued, AlchemyQueued)
Progress = Callable[[Look], None]

NOBODY = "NoAvailableWorker"
REASONS_TOLD = 2

log = logging.getLogger(__name__)


class Asking:
    """The part of the async client that knows no particular kind of request."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def cancel_quietly(self, request_id: str, kind: Kind[Any, Any] = IMAGE) -> bool:
        """Cancel on the way out, when there is nobody left to tell about a failure."""
        try:
            await self._cancel(kind, request_id)
        except HordeError:
            return False
        return True

    async def _get(
        self, answer: type[Answer], path: str, query: Mapping[str, str] | None = None
    ) -> Answer:
        return await self._transport.call(answer, "GET", path, query=query)

    async def _submit(
        self, kind: Kind[Any, Any], answer: type[Answer], body: Mapping[str, Any]
    ) -> Answer:
        """Only a rate limit is waited for: a request that got lost on the way may have arrived."""

        def attempt() -> Awaitable[Answer]:
            return self._transport.call(answer, "POST", kind.submit, body=body)

        return await self._transport.patiently(attempt, outages=False)

    async def _hand_in(
        self,
        kind: Kind[Any, Any],
        answer: type[QueuedType],
        body: Mapping[str, Any],
        *,
        wait_for_workers: bool,
    ) -> QueuedType:
        """Queue a request. Raises Impossible, and cancels it, if nobody online can do it and the
        caller would not wait for somebody who can."""
        queued = await self._submit(kind, answer, body)
        if wait_for_workers or (reason := impossible_because(queued)) is None:
            return queued
        cancelled = await self.cancel_quietly(queued.id, kind)
        try:
            online = await self._served(kind)
        except HordeError:
            online = []  # a help only: the reason is known
        raise Impossible(queued.id, reason, online, cancelled=cancelled)

    async def _served(self, kind: Kind[Any, Any]) -> Sequence[str]:
        """What the workers of a kind that are online serve: models, or forms."""
        if kind is ALCHEMY:
            workers = await self._get(list[WorkerDetails], "workers", {"type": kind.name})
            return sorted({form for one in workers for form in one.forms or []})
        models = await self._get(list[ActiveModel], "status/models", {"type": kind.name})
        return [one.name for one in models]

    async def _status(self, kind: Kind[Any, StatusType], request_id: str) -> StatusType:
        return await self._get(kind.status_type, f"{kind.status}/{request_id}")

    async def _status_patiently(self, kind: Kind[Any, StatusType], request_id: str) -> StatusType:
        path = f"{kind.status}/{request_id}"
        return await self._transport.call_patiently(kind.status_type, "GET", path)

    async def _cancel(self, kind: Kind[Any, StatusType], request_id: str) -> StatusType:
        path = f"{kind.status}/{request_id}"
        return await self._transport.call(kind.status_type, "DELETE", path)

    async def _watch(
        self, kind: Kind[Any, Any], request_id: str, progress: Progress | None = None
    ) -> AsyncGenerator[Look, None]:
        """Each new look, which `progress` hears first."""
        async with aclosing(watch(self._transport, kind, request_id)) as looks:
            async for look in looks:
                if progress is not None:
                    progress(look)
                yield look

    async def _last_look(
        self, kind: Kind[Any, Any], request_id: str, progress: Progress | None
    ) -> Look:
        async with aclosing(self._watch(kind, request_id, progress)) as looks:
            async for look in looks:
                last = look
        return last

    @asynccontextmanager
    async def _cancelling(self, kind: Kind[Any, Any], request_id: str) -> AsyncIterator[None]:
        """Nobody pays for what nobody waits for: who leaves early cancels the request."""
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            await self.cancel_quietly(request_id, kind)
            raise

    async def _content(self, img: str) -> bytes:
        """The picture behind `img`, which is a URL or base64."""
        if img.startswith(("http://", "https://", "/")):
            return await self._transport.patiently(lambda: self._transport.download(img))
        try:
            return base64.b64decode(img.partition("base64,")[2] or img, validate=True)
        except binascii.Error as error:
            raise HordeError(
                0, None, f"A picture is neither a URL nor base64 ({error})."
            ) from error


def impossible_because(queued: RequestQueued | AlchemyQueued) -> str | None:
    """Why no worker that is online can do a request; None if one can, or the horde does not say."""
    told = queued.warnings if isinstance(queued, RequestQueued) else None
    warnings = [one.message for one in told or [] if one.code == NOBODY]
    if queued.is_possible is None:
        return warnings[0] if warnings else None
    if queued.is_possible:
        return None
    if not queued.ruled_out:
        return "No worker is online that does this kind of work."
    parts = ["No worker that is online can do this request."]
    parts += [one.sentence for one in queued.ruled_out[:REASONS_TOLD]]
    if queued.nearest is not None:
        parts.append(queued.nearest.sentence)
    return " ".join(parts)


def log_warnings(warnings: Iterable[Warning]) -> None:
    """For callers that see the result only."""
    for warning in warnings:
        log.warning("%s", warning.message)
