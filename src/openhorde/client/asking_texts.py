# SPDX-License-Identifier: AGPL-3.0-or-later
"""The async client's part for texts."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Unpack

from openhorde.client.asking import Asking, Progress, log_warnings
from openhorde.client.errors import HordeError
from openhorde.client.kinds import TEXT, Status
from openhorde.client.looks import Look
from openhorde.client.texts import QueuedText, Text, TextSettings, text_body
from openhorde.wire.requests import RequestPriced, RequestQueued
from openhorde.wire.text import TextStatus


class AskingTexts(Asking):
    """Have texts written."""

    async def text(
        self,
        prompt: str,
        *,
        progress: Progress | None = None,
        wait_for_workers: bool = False,
        **settings: Unpack[TextSettings],
    ) -> list[Text]:
        """Ask for texts that continue the prompt, and wait until they are written.

        `progress` hears each new look at the request. A task that is cancelled meanwhile cancels
        its request too.

        Raises Impossible at once if no worker that is online can do it, unless the caller would
        `wait_for_workers`. What else the horde warns of is logged.
        """
        queued = await self.generate_text(prompt, wait_for_workers=wait_for_workers, **settings)
        log_warnings(queued.warnings)
        async with self._cancelling(TEXT, queued.id):
            look = await self._last_look(TEXT, queued.id, progress)
            return await self.texts(queued, look.status)

    async def generate_text(
        self, prompt: str, *, wait_for_workers: bool = True, **settings: Unpack[TextSettings]
    ) -> QueuedText:
        """Submit a request. It waits in the horde's queue from here on, at most 20 minutes.

        Raises Impossible if no worker that is online can do it and `wait_for_workers` is false.
        """
        body = text_body(prompt, settings)
        queued = await self._hand_in(TEXT, RequestQueued, body, wait_for_workers=wait_for_workers)
        return QueuedText(
            id=queued.id,
            kudos=queued.kudos,
            message=queued.message,
            warnings=queued.warnings or [],
            body=body,
        )

    async def price_text(self, prompt: str, **settings: Unpack[TextSettings]) -> RequestPriced:
        """What a request would cost in all, and why. Nothing is written, nothing is charged."""
        body = {**text_body(prompt, settings), "dry_run": True}
        return await self._submit(TEXT, RequestPriced, body)

    async def text_status(self, request_id: str) -> TextStatus:
        """How far a request for texts is, with those that are done."""
        return await self._status(TEXT, request_id)

    async def cancel_text(self, request_id: str) -> TextStatus:
        """Take back what is not written yet; the answer holds what is."""
        return await self._cancel(TEXT, request_id)

    async def watch_text(self, request_id: str) -> AsyncGenerator[Look, None]:
        """Each new look at a request for texts until it is done or faulted; `watch` for texts."""
        async with aclosing(self._watch(TEXT, request_id)) as looks:
            async for look in looks:
                yield look

    async def texts(self, queued: QueuedText, status: Status | None = None) -> list[Text]:
        """The finished texts of a request.

        `status` is what the last look may bring along; without it the horde is asked.
        """
        if not isinstance(status, TextStatus):
            status = await self._status_patiently(TEXT, queued.id)
        if not status.generations:
            reason = status.message or (
                "the workers that tried it failed. Try another model, or look at the worker's log"
                if status.faulted
                else "it was cancelled or is not done"
            )
            raise HordeError(0, None, f"Request {queued.id} has no texts: {reason}.")
        share = status.kudos / len(status.generations)
        return [
            Text(
                text=one.text,
                id=one.id,
                request_id=queued.id,
                seed=one.seed,
                model=one.model,
                worker_id=one.worker_id,
                worker_name=one.worker_name,
                gen_metadata=one.gen_metadata,
                kudos=share,
                censored=one.state != "ok",
            )
            for one in status.generations
        ]
