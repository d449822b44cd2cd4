# SPDX-License-Identifier: AGPL-3.0-or-later
"""The async client's part for alchemy: forms done of one picture."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Unpack

from openhorde.client.asking import Asking, Progress
from openhorde.client.errors import HordeError
from openhorde.client.forms import (
    DRAWN,
    AskedForms,
    DryRun,
    FormResult,
    FormSettings,
    Keyword,
    News,
    QueuedForms,
    alchemy_body,
    value_of,
)
from openhorde.client.kinds import ALCHEMY
from openhorde.client.looks import Look
from openhorde.client.sources import ImageSource, picture_base64
from openhorde.wire.alchemy import (
    AlchemyPriced,
    AlchemyQueued,
    AlchemyStatus,
    AskedForm,
    FormStatus,
)
from openhorde.wire.image import PostProcessor


class AskingForms(Asking):
    """Have pictures looked at and worked on.

    A picture is a path, the bytes of a file, a picture of Pillow's or a URL, which is fetched here.
    What is no picture, or too large to be looked at, is refused before anything is sent. What no
    worker that is online can do raises Impossible at once, unless `wait_for_workers` is given.
    """

    async def caption(
        self,
        picture: ImageSource,
        *,
        payload: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **settings: Unpack[FormSettings],
    ) -> str:
        """What the picture shows, in a sentence. `payload` is what its captioner may be told:
        `max_length`, say.

        Raises FormFault with the reason if it could not be done; so do the other forms.
        """
        form = AskedForm(name="caption", payload=dict(payload or {}))
        caption: str = await self._form(picture, form, progress, settings)
        return caption

    async def nsfw(
        self,
        picture: ImageSource,
        *,
        progress: Progress | None = None,
        **settings: Unpack[FormSettings],
    ) -> bool:
        """Whether the picture is not safe for work."""
        unsafe: bool = await self._form(picture, AskedForm(name="nsfw"), progress, settings)
        return unsafe

    async def interrogate(
        self,
        picture: ImageSource,
        *,
        payload: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **settings: Unpack[FormSettings],
    ) -> dict[str, list[Keyword]]:
        """The keywords that fit the picture, by category, the surest first. `payload` is what its
        interrogator may be told: here `count`, and `categories`."""
        form = AskedForm(name="interrogation", payload=dict(payload or {}))
        found: dict[str, list[Keyword]] = await self._form(picture, form, progress, settings)
        return found

    async def post_process(
        self,
        picture: ImageSource,
        post_processors: Sequence[PostProcessor],
        *,
        progress: Progress | None = None,
        **settings: Unpack[FormSettings],
    ) -> dict[PostProcessor, bytes]:
        """The picture as each of the post-processors leaves it: encoded files, by its name."""
        found = await self._values(picture, post_processors, progress, settings)
        return {name: _told(found, name) for name in post_processors}

    async def forms(
        self,
        picture: ImageSource,
        forms: AskedForms,
        *,
        progress: Progress | None = None,
        **settings: Unpack[FormSettings],
    ) -> AsyncGenerator[FormResult, None]:
        """The result of each form, by name or with its payload, as soon as it is over.

        A form that faults is told with its reason while the others arrive. Pictures come
        downloaded. Who stops early cancels what is not done yet.
        """
        settings.setdefault("wait_for_workers", False)
        queued = await self.queue_forms(picture, forms, **settings)
        results = self.form_results(queued.id, progress=progress)
        async with self._cancelling(ALCHEMY, queued.id), aclosing(results):
            async for result in results:
                yield result

    async def queue_forms(
        self, picture: ImageSource, forms: AskedForms, **settings: Unpack[FormSettings]
    ) -> QueuedForms:
        """Submit a request. It waits in the horde's queue from here on, at most 20 minutes.

        Raises Impossible if no worker that is online can do it and `wait_for_workers` is false.
        """
        wait_for_workers = settings.pop("wait_for_workers", True)
        body = await self._alchemy_body(picture, forms, settings)
        queued = await self._hand_in(
            ALCHEMY, AlchemyQueued, body, wait_for_workers=wait_for_workers
        )
        return QueuedForms(
            id=queued.id,
            kudos=queued.kudos,
            message=queued.message,
            forms=[form["name"] for form in body["forms"]],
        )

    async def price_forms(
        self, picture: ImageSource, forms: AskedForms, **settings: Unpack[FormSettings]
    ) -> AlchemyPriced:
        """What a request would cost in all, and why. Nothing is done, nothing is charged.

        Raises HordeError where the horde does not tell prices of forms.
        """
        body = {**await self._alchemy_body(picture, forms, settings), "dry_run": True}
        answer = await self._submit(ALCHEMY, DryRun, body)
        if answer.id is not None:
            await self.cancel_quietly(answer.id, ALCHEMY)
        if answer.kudos is None or answer.id is not None:
            raise HordeError(0, None, f"{self._transport.url} does not tell what forms would cost.")
        return AlchemyPriced(
            kudos=answer.kudos,
            lines=answer.lines,
            message=answer.message,
            is_possible=answer.is_possible,
            workers_fitting=answer.workers_fitting,
            eta=answer.eta,
            ruled_out=answer.ruled_out,
        )

    async def forms_status(self, request_id: str) -> AlchemyStatus:
        """How far each form of a request is, with the results that are there."""
        return await self._status(ALCHEMY, request_id)

    async def cancel_forms(self, request_id: str) -> AlchemyStatus:
        """Take back the forms that are not done yet; the answer holds those that are."""
        return await self._cancel(ALCHEMY, request_id)

    async def watch_forms(self, request_id: str) -> AsyncGenerator[Look, None]:
        """Each new look at a request for forms until all are over; `watch` for forms."""
        async with aclosing(self._watch(ALCHEMY, request_id)) as looks:
            async for look in looks:
                yield look

    async def form_results(
        self, request_id: str, *, progress: Progress | None = None
    ) -> AsyncGenerator[FormResult, None]:
        """The result of each form of a request that was handed in, as soon as it is over."""
        news, told = News(), 0
        async with aclosing(self._watch(ALCHEMY, request_id, progress)) as looks:
            async for look in looks:
                status = look.status
                if not isinstance(status, AlchemyStatus):
                    if look.finished <= told and not (look.done or look.faulted):
                        continue
                    status = await self._status_patiently(ALCHEMY, request_id)
                fresh = [self._form_result(request_id, form) for form in news.of(status)]
                told += len(fresh)
                for result in await asyncio.gather(*fresh):
                    yield result

    async def _alchemy_body(
        self, picture: ImageSource, forms: AskedForms, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        content = await picture_base64(picture, "source_image", self._transport.download)
        return alchemy_body(content, forms, settings)

    async def _form(
        self,
        picture: ImageSource,
        form: AskedForm,
        progress: Progress | None,
        settings: FormSettings,
    ) -> Any:
        return _told(await self._values(picture, [form], progress, settings), form.name)

    async def _values(
        self,
        picture: ImageSource,
        forms: AskedForms,
        progress: Progress | None,
        settings: FormSettings,
    ) -> dict[str, Any]:
        async with aclosing(self.forms(picture, forms, progress=progress, **settings)) as results:
            return {result.form: result.expect() async for result in results}

    async def _form_result(self, request_id: str, form: FormStatus) -> FormResult:
        """A result that cannot be read or fetched is a fault of its form alone."""
        state, value, reason = form.state, None, form.reason
        if state == "done":
            try:
                value = value_of(form)
                if form.form in DRAWN:
                    value = await self._content(value)
            except HordeError as error:
                state, value, reason = "faulted", None, str(error)
        return FormResult(
            form=form.form, request_id=request_id, state=state, value=value, reason=reason
        )


def _told(found: Mapping[str, Any], form: str) -> Any:
    if form not in found:
        raise HordeError(0, None, f"The horde has ended the request without the form {form}.")
    return found[form]
