# SPDX-License-Identifier: AGPL-3.0-or-later
"""The async client's part for pictures."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Unpack

from openhorde.client.asking import Asking, Progress, log_warnings
from openhorde.client.errors import HordeError
from openhorde.client.kinds import IMAGE, Status
from openhorde.client.looks import Look
from openhorde.client.pictures import Picture, QueuedImage
from openhorde.client.settings import ImageSettings, asked_facts, check_sources, image_body
from openhorde.client.sources import ImageSource, source_base64
from openhorde.wire.requests import (
    Generation,
    RequestCheck,
    RequestPriced,
    RequestQueued,
    RequestStatus,
)


class AskingImages(Asking):
    """Have pictures drawn."""

    async def image(
        self,
        prompt: str,
        *,
        source_image: ImageSource | None = None,
        source_mask: ImageSource | None = None,
        progress: Progress | None = None,
        wait_for_workers: bool = False,
        **settings: Unpack[ImageSettings],
    ) -> list[Picture]:
        """Ask for pictures, wait until they are drawn, and fetch them.

        `progress` hears each new look at the request: its place in the queue, the wait, who draws
        it, and the steps. A task that is cancelled meanwhile cancels its request too.

        Raises Impossible at once if no worker that is online can do it, unless the caller would
        `wait_for_workers`. What else the horde warns of is logged.
        """
        queued = await self.generate_image(
            prompt,
            source_image=source_image,
            source_mask=source_mask,
            wait_for_workers=wait_for_workers,
            **settings,
        )
        log_warnings(queued.warnings)
        async with self._cancelling(IMAGE, queued.id):
            look = await self._last_look(IMAGE, queued.id, progress)
            return await self.pictures(queued, look.status)

    async def generate_image(
        self,
        prompt: str,
        *,
        source_image: ImageSource | None = None,
        source_mask: ImageSource | None = None,
        wait_for_workers: bool = True,
        **settings: Unpack[ImageSettings],
    ) -> QueuedImage:
        """Submit a request. It waits in the horde's queue from here on, at most 20 minutes.

        Raises Impossible if no worker that is online can do it and `wait_for_workers` is false.
        """
        body = await self._body(prompt, source_image, source_mask, settings)
        queued = await self._hand_in(IMAGE, RequestQueued, body, wait_for_workers=wait_for_workers)
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
        return await self._submit(IMAGE, RequestPriced, {**body, "dry_run": True})

    async def check(self, request_id: str) -> RequestCheck:
        """How far a request is."""
        return await self._get(RequestCheck, f"{IMAGE.check}/{request_id}")

    async def status(self, request_id: str) -> RequestStatus:
        """How far a request is, with the pictures that are done."""
        return await self._status(IMAGE, request_id)

    async def cancel(self, request_id: str) -> RequestStatus:
        """Take back what is not drawn yet; the answer holds what is."""
        return await self._cancel(IMAGE, request_id)

    async def watch(self, request_id: str) -> AsyncGenerator[Look, None]:
        """Each new look at a request until it is done or faulted, which is the last one.

        The horde's stream of events is followed where there is one, with every step of the
        drawing; else the request is asked after. Broken lines are taken up again, rate limits
        honoured, short outages of the server waited for.
        """
        async with aclosing(self._watch(IMAGE, request_id)) as looks:
            async for look in looks:
                yield look

    async def pictures(self, queued: QueuedImage, status: Status | None = None) -> list[Picture]:
        """The finished pictures of a request, downloaded.

        `status` is what the last look may bring along; without it the horde is asked.
        """
        if not isinstance(status, RequestStatus):
            status = await self._status_patiently(IMAGE, queued.id)
        if not status.generations:
            reason = status.message or (
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

    async def _body(
        self,
        prompt: str,
        source_image: ImageSource | None,
        source_mask: ImageSource | None,
        settings: Mapping[str, Any],
    ) -> dict[str, Any]:
        body = image_body(prompt, settings)
        check_sources(body, source_image, source_mask)
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
