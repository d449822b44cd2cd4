# SPDX-License-Identifier: AGPL-3.0-or-later
"""The async client: one object for one horde and one account."""

import asyncio
import base64
import binascii
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Self, TypeVar, Unpack

from openhorde import __version__
from openhorde.client.errors import HordeError
from openhorde.client.looks import Look
from openhorde.client.pictures import Picture, QueuedImage
from openhorde.client.settings import ImageSettings, asked_facts, image_body
from openhorde.client.sources import ImageSource, source_base64
from openhorde.client.transport import Sleep, Transport
from openhorde.client.watching import watch
from openhorde.wire.kudos import KudosHistory, KudosTransferred
from openhorde.wire.requests import (
    Generation,
    RequestCheck,
    RequestPriced,
    RequestQueued,
    RequestStatus,
)
from openhorde.wire.status import ActiveModel, Heartbeat, Performance
from openhorde.wire.users import UserDetails
from openhorde.wire.workers import WorkerDetails

DEFAULT_URL = "http://127.0.0.1:7001"
ANONYMOUS_KEY = "0000000000"
CLIENT_AGENT = f"openhorde:{__version__}:unknown"

Answer = TypeVar("Answer")
Progress = Callable[[Look], None]


class AsyncHorde:
    """A client of one horde. Use it with `async with`, or call `close` at the end.

    `outage_seconds` is how long watching and fetching wait for a server that went away.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str = ANONYMOUS_KEY,
        client_agent: str = CLIENT_AGENT,
        *,
        outage_seconds: float = 60.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._transport = Transport(
            url, api_key, client_agent, outage_seconds=outage_seconds, sleep=sleep
        )

    @property
    def url(self) -> str:
        """The horde's address, without the API's path."""
        return self._transport.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._transport.close()

    async def image(
        self,
        prompt: str,
        *,
        source_image: ImageSource | None = None,
        source_mask: ImageSource | None = None,
        progress: Progress | None = None,
        **settings: Unpack[ImageSettings],
    ) -> list[Picture]:
        """Ask for pictures, wait until they are drawn, and fetch them.

        `progress` hears each new look at the request: its place in the queue, the wait, who draws
        it, and the steps. A task that is cancelled meanwhile cancels its request too.
        """
        queued = await self.generate_image(
            prompt, source_image=source_image, source_mask=source_mask, **settings
        )
        try:
            async with aclosing(self.watch(queued.id)) as looks:
                async for look in looks:
                    if progress is not None:
                        progress(look)
            return await self.pictures(queued, look.status)
        except asyncio.CancelledError:
            await self.cancel_quietly(queued.id)
            raise

    async def generate_image(
        self,
        prompt: str,
        *,
        source_image: ImageSource | None = None,
        source_mask: ImageSource | None = None,
        **settings: Unpack[ImageSettings],
    ) -> QueuedImage:
        """Hand a request in. It waits in the horde's queue from here on."""
        body = await self._body(prompt, source_image, source_mask, settings)
        queued = await self._submit(RequestQueued, body)
        return QueuedImage(
            id=queued.id,
            kudos=queued.kudos,
            message=queued.message,
            warnings=queued.warnings or [],
            body=body,
        )

    async def price(
        self,
        prompt: str,
        *,
        source_image: ImageSource | None = None,
        source_mask: ImageSource | None = None,
        **settings: Unpack[ImageSettings],
    ) -> RequestPriced:
        """What a request would cost in all, and why. Nothing is drawn, nothing is charged."""
        body = await self._body(prompt, source_image, source_mask, settings)
        return await self._submit(RequestPriced, {**body, "dry_run": True})

    async def check(self, request_id: str) -> RequestCheck:
        """How far a request is."""
        return await self._get(RequestCheck, f"generate/check/{request_id}")

    async def status(self, request_id: str) -> RequestStatus:
        """How far a request is, with the pictures that are done."""
        return await self._get(RequestStatus, f"generate/status/{request_id}")

    async def cancel(self, request_id: str) -> RequestStatus:
        """Take back what is not drawn yet; the answer holds what is."""
        return await self._transport.call(RequestStatus, "DELETE", f"generate/status/{request_id}")

    async def cancel_quietly(self, request_id: str) -> bool:
        """Cancel on the way out, when there is nobody left to tell about a failure."""
        try:
            await self.cancel(request_id)
        except HordeError:
            return False
        return True

    async def watch(self, request_id: str) -> AsyncGenerator[Look, None]:
        """Each new look at a request until it is done or faulted, which is the last one.

        The horde's stream of events is followed where there is one, with every step of the
        drawing; else the request is asked after. Broken lines are taken up again, rate limits
        honoured, short outages of the server waited for.
        """
        async with aclosing(watch(self._transport, request_id)) as looks:
            async for look in looks:
                yield look

    async def pictures(
        self, queued: QueuedImage, status: RequestStatus | None = None
    ) -> list[Picture]:
        """The finished pictures of a request, downloaded.

        `status` is what the last look may bring along; without it the horde is asked.
        """
        if status is None:
            status = await self._transport.call_patiently(
                RequestStatus, "GET", f"generate/status/{queued.id}"
            )
        if not status.generations:
            reason = (
                "the workers that tried it failed. Try other settings or another model, or look "
                "at the worker's log"
                if status.faulted
                else "it was cancelled or is not done"
            )
            raise HordeError(0, None, f"Request {queued.id} has no pictures: {reason}.")
        share = status.kudos / len(status.generations)
        return await asyncio.gather(
            *(self._picture(queued, one, share) for one in status.generations)
        )

    async def find_user(self) -> UserDetails:
        """The account behind the API key."""
        return await self._get(UserDetails, "find_user")

    async def history(
        self, *, before: str | None = None, limit: int = 50, user: str | None = None
    ) -> KudosHistory:
        """What happened to the account's kudos, newest first; `before` is a page's `next`.

        Moderators may name another `user`.
        """
        query = {"limit": str(limit), "before": before or "", "user": user or ""}
        return await self._get(KudosHistory, "kudos/history", query)

    async def send_kudos(self, username: str, amount: int, *, key: str | None = None) -> float:
        """Send kudos to another user; what was sent.

        The same `key` sends once, however often it is tried; without one each call sends anew, and
        still only once however often it is repeated on the way.
        """
        body = {"username": username, "amount": amount}
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}

        def attempt() -> Awaitable[KudosTransferred]:
            return self._transport.call(
                KudosTransferred, "POST", "kudos/transfer", body=body, headers=headers
            )

        return (await self._transport.patiently(attempt)).transferred

    async def heartbeat(self) -> Heartbeat:
        """Whether this node of the horde is alive."""
        return await self._get(Heartbeat, "status/heartbeat")

    async def performance(self) -> Performance:
        """Queue sizes, machines and speed of the whole horde."""
        return await self._get(Performance, "status/performance")

    async def models(self, kind: str = "image") -> list[ActiveModel]:
        """The models that are served now; `kind` is image or text."""
        return await self._get(list[ActiveModel], "status/models", {"type": kind})

    async def workers(self, kind: str | None = None) -> list[WorkerDetails]:
        """The workers that are online; `kind` is image, text or interrogation."""
        return await self._get(list[WorkerDetails], "workers", {"type": kind} if kind else None)

    async def _get(
        self, answer: type[Answer], path: str, query: Mapping[str, str] | None = None
    ) -> Answer:
        return await self._transport.call(answer, "GET", path, query=query)

    async def _submit(self, answer: type[Answer], body: Mapping[str, Any]) -> Answer:
        """Only a rate limit is waited for: a request that got lost on the way may have arrived."""

        def attempt() -> Awaitable[Answer]:
            return self._transport.call(answer, "POST", "generate/async", body=body)

        return await self._transport.patiently(attempt, outages=False)

    async def _body(
        self,
        prompt: str,
        source_image: ImageSource | None,
        source_mask: ImageSource | None,
        settings: Mapping[str, Any],
    ) -> dict[str, Any]:
        body = image_body(prompt, settings)
        for field, source in (("source_image", source_image), ("source_mask", source_mask)):
            if source is not None:
                body[field] = await source_base64(source, field, self._transport.download)
        return body

    async def _picture(self, queued: QueuedImage, one: Generation, kudos: float) -> Picture:
        return Picture(
            content=await self._content(one.img),
            id=one.id,
            request_id=queued.id,
            seed=one.seed,
            model=one.model,
            worker_id=one.worker_id,
            worker_name=one.worker_name,
            gen_metadata=one.gen_metadata,
            kudos=kudos,
            censored=one.censored or one.state != "ok",
            asked=asked_facts(queued.body),
        )

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
