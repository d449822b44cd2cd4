# SPDX-License-Identifier: AGPL-3.0-or-later
"""A pilot job: a small request of the owner's own, for this worker, through the horde itself."""

import asyncio
import base64
import io
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

from msgspec import Struct
from PIL import Image, ImageDraw

from openhorde.incoming.pictures import PictureRefused, inspect
from openhorde.wire.alchemy import AlchemyQueued, AlchemyRequest, AlchemyStatus, AskedForm
from openhorde.wire.image import ImageParams
from openhorde.wire.requests import ImageRequest, RequestCheck, RequestQueued, RequestStatus
from openhorde.wire.text import TextParams, TextRequest, TextStatus
from openhorde.wire.workers import WorkerDetails
from openhorde.worker.panel.calls import CallFailed, OwnerCalls

Kind = Literal["image", "text", "interrogation"]

PROMPT = "a red circle on a blue background"
TEXT_PROMPT = "Once upon a time"
TEXT_TOKENS = 24
STEPS = 10
POLL_SECONDS = 1.0
SECONDS_MAX = 180.0
SAID_FORMS = ("caption", "nsfw", "interrogation")
SOURCE_SIDE_PIXELS = 128
PICTURE_BYTES_MAX = 24 << 20
PICTURE_PIXELS_MAX = 16 * 3072 * 3072
MEDIA_TYPES = ("image/webp", "image/png", "image/jpeg")


class Pilot(Struct, kw_only=True):
    """How a pilot job goes. `picture` is a data: address; `price_kudos` is what it cost."""

    kind: Kind
    asked: str
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    says: str = ""
    picture: str | None = None
    words: str | None = None
    job_ids: list[str] = []
    seconds: float = 0.0
    price_kudos: float | None = None
    obstacles: list[str] = []


async def fly(
    calls: OwnerCalls, worker: WorkerDetails, side_pixels: int, seconds_max: float = SECONDS_MAX
) -> AsyncIterator[Pilot]:
    """Send the request and tell how it goes, until it is done or has failed. Raises nothing.

    A request that is not done in time is cancelled, and what stands in its way is told.
    """
    flight = _Flight(calls, worker, side_pixels)
    begun = time.monotonic()
    pilot = flight.pilot
    yield pilot
    try:
        await flight.submit()
        while True:
            pilot.seconds = time.monotonic() - begun
            if await flight.look():
                break
            yield pilot
            if pilot.seconds > seconds_max:
                await flight.cancel()
                pilot.state = "failed"
                pilot.says = f"Not done within {seconds_max:g} s, so it was cancelled."
                break
            await asyncio.sleep(POLL_SECONDS)
    except CallFailed as failure:
        pilot.state, pilot.says = "failed", str(failure)
    pilot.seconds = time.monotonic() - begun
    yield pilot


class _Flight:
    """One pilot job at the horde."""

    def __init__(self, calls: OwnerCalls, worker: WorkerDetails, side_pixels: int) -> None:
        self._calls = calls
        self._worker = worker
        self._side_pixels = side_pixels
        self._path = {
            "image": "generate",
            "text": "generate/text",
            "interrogation": "interrogate",
        }[worker.type]
        self._id = ""
        self.pilot = Pilot(kind=worker.type, asked="", obstacles=obstacles(worker))

    async def submit(self) -> None:
        """Ask."""
        match self.pilot.kind:
            case "image":
                await self._submit_picture()
            case "text":
                await self._submit_text()
            case "interrogation":
                await self._submit_forms()

    async def look(self) -> bool:
        """See how far it is; the answer is whether that was the end of it."""
        try:
            match self.pilot.kind:
                case "image":
                    return await self._look_at_picture()
                case "text":
                    return await self._look_at_text()
                case "interrogation":
                    return await self._look_at_forms()
        except CallFailed as failure:
            # Asked too often: later, then.
            if failure.status != 429:
                raise
            await asyncio.sleep(failure.retry_after_seconds)
        return False

    async def cancel(self) -> None:
        """Take the request back."""
        await self._calls.call("DELETE", f"{self._path}/status/{self._id}", Any)

    async def _submit_picture(self) -> None:
        model = _first(self._worker.models, "models")
        side = self._side_pixels
        self.pilot.asked = f"“{PROMPT}” of {model}, {side} x {side} pixels, {STEPS} steps"
        body = ImageRequest(
            prompt=PROMPT,
            params=ImageParams(width=side, height=side, steps=STEPS, sampler_name="k_euler"),
            models=[model],
            workers=[self._worker.id],
            r2=False,
        )
        self._queued(await self._calls.call("POST", "generate/async", RequestQueued, body))

    async def _submit_text(self) -> None:
        model = _first(self._worker.models, "models")
        self.pilot.asked = f"{model} goes on with “{TEXT_PROMPT}”, {TEXT_TOKENS} tokens"
        body = TextRequest(
            prompt=TEXT_PROMPT,
            params=TextParams(max_length=TEXT_TOKENS, max_context_length=128),
            models=[model],
            workers=[self._worker.id],
        )
        self._queued(await self._calls.call("POST", "generate/text/async", RequestQueued, body))

    async def _submit_forms(self) -> None:
        offered = self._worker.forms or []
        forms = [form for form in SAID_FORMS if form in offered] or [_first(offered, "forms")]
        self.pilot.asked = f"{', '.join(forms)} of a picture of a red circle"
        body = AlchemyRequest(
            source_image=base64.b64encode(_circle()).decode(),
            forms=[AskedForm(name=form) for form in forms],  # type: ignore[arg-type]
        )
        queued = await self._calls.call("POST", "interrogate/async", AlchemyQueued, body)
        self._id, self.pilot.price_kudos = queued.id, queued.kudos
        self.pilot.says = "Any worker may take forms, so that another one may be quicker."

    def _queued(self, queued: RequestQueued) -> None:
        self._id = queued.id
        self.pilot.price_kudos = queued.kudos
        self.pilot.obstacles += [one.message for one in queued.warnings or []]
        self.pilot.obstacles += [one.sentence for one in queued.ruled_out or []]

    async def _look_at_picture(self) -> bool:
        check = await self._calls.call("GET", f"generate/check/{self._id}", RequestCheck)
        if not self._over(check):
            return False
        status = await self._calls.call("GET", f"generate/status/{self._id}", RequestStatus)
        if not status.generations:
            raise CallFailed("the request is over, and no picture came of it")
        found = status.generations[0]
        self.pilot.picture = picture_address(found.img)
        self._done(found.id, found.worker_id, found.worker_name)
        if found.state != "ok":
            self.pilot.says += f" The picture is {found.state}."
        return True

    async def _look_at_text(self) -> bool:
        status = await self._calls.call("GET", f"generate/text/status/{self._id}", TextStatus)
        if not self._over(status):
            return False
        if not status.generations:
            raise CallFailed("the request is over, and no text came of it")
        found = status.generations[0]
        self.pilot.words = f"{TEXT_PROMPT}{found.text}"
        self._done(found.id, found.worker_id, found.worker_name)
        return True

    async def _look_at_forms(self) -> bool:
        status = await self._calls.call("GET", f"interrogate/status/{self._id}", AlchemyStatus)
        told = []
        for form in status.forms:
            result = (form.result or {}).get(form.form, form.reason or "")
            told.append(
                f"{form.form}: {form.state}" + (f", {_brief(result)}" if result != "" else "")
            )
        self.pilot.words = "\n".join(told)
        if status.state in ("waiting", "processing"):
            self.pilot.state = "waiting" if status.state == "waiting" else "running"
            return False
        self.pilot.state = "done" if status.state == "done" else "failed"
        if self.pilot.state == "failed":
            self.pilot.says = f"The forms are {status.state}."
        return True

    def _over(self, check: RequestCheck) -> bool:
        """Whether the request is over; raises CallFailed when it came to nothing."""
        if check.faulted:
            raise CallFailed("the job failed too often; the faults above tell why")
        if check.done:
            return True
        self.pilot.state = "running" if check.processing else "waiting"
        if check.processing:
            self.pilot.says = "A worker is at it."
        elif check.is_possible:
            self.pilot.says = f"It waits at place {check.queue_position} of the queue."
        else:
            self.pilot.says = "It waits: no worker that is online now could do it."
        return False

    def _done(self, job_id: str, worker_id: str, worker_name: str) -> None:
        self.pilot.state, self.pilot.job_ids = "done", [job_id]
        mine = worker_id == self._worker.id
        self.pilot.says = "Done by this worker." if mine else f"Done, but by {worker_name}."


def obstacles(worker: WorkerDetails) -> list[str]:
    """What keeps a worker from jobs, as far as the horde tells of it."""
    found = []
    if not worker.online:
        found.append(f"The horde has not heard of {worker.name} for a while.")
    if worker.maintenance_mode:
        found.append(f"{worker.name} is in maintenance, and then gets its owner's requests only.")
    if worker.paused:
        found.append(f"{worker.name} was paused by a moderator.")
    if worker.flagged:
        found.append(f"{worker.name} is flagged: speak to the horde's moderators.")
    return found


def picture_address(encoded: str) -> str:
    """Base64 of a picture as a data: address. Raises CallFailed unless it is one that we know."""
    try:
        content = base64.b64decode(encoded, validate=True)
        facts = inspect(content, bytes_max=PICTURE_BYTES_MAX, pixels_max=PICTURE_PIXELS_MAX)
    except (ValueError, PictureRefused) as error:
        raise CallFailed("the horde's answer holds no picture") from error
    media_type = Image.MIME.get(facts.format, "")
    if media_type not in MEDIA_TYPES:
        raise CallFailed(f"the horde's answer holds a picture of type {media_type or 'unknown'}")
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _first(names: list[str], what: str) -> str:
    if not names:
        raise CallFailed(f"the horde knows of no {what} that this worker offers yet")
    return names[0]


def _brief(result: object) -> str:
    """A form's result in a line."""
    if isinstance(result, dict):
        first = [
            f"{category}: {', '.join(str(one.get('text')) for one in words[:5])}"
            for category, words in result.items()
            if isinstance(words, list)
        ]
        return "; ".join(first)
    return (
        {True: "yes", False: "no"}.get(result, str(result))
        if isinstance(result, bool)
        else str(result)
    )


def _circle() -> bytes:
    """A WebP of a red circle on blue."""
    side = SOURCE_SIDE_PIXELS
    picture = Image.new("RGB", (side, side), (30, 60, 220))
    edge = side // 5
    ImageDraw.Draw(picture).ellipse((edge, edge, side - edge, side - edge), fill=(220, 30, 30))
    written = io.BytesIO()
    picture.save(written, "WEBP", quality=95)
    return written.getvalue()
