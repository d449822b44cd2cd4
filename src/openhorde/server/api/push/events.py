# SPDX-License-Identifier: AGPL-3.0-or-later
"""The events of one request, as they happen.

Nothing is logged for those who come back: what an event id says (`domain/marks.py`) is compared
with the rows of the jobs, by whichever server the caller has reached.
"""

from collections.abc import AsyncGenerator, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct
from starlette.responses import Response

from openhorde.server.actions.progress import Progress
from openhorde.server.actions.showing import show_result
from openhorde.server.actions.watching import QUIET_SECONDS_MAX, Story, Watcher, noticeable
from openhorde.server.api.operations import Answer, Bucket, Call, Limit, Operation, uuid_of
from openhorde.server.api.push.stream import COMMENT, MEDIA_TYPE, EventStream, event
from openhorde.server.api.push.watching import watch
from openhorde.server.api.v2.statuses import STATUSES
from openhorde.server.domain import marks
from openhorde.server.domain.marks import Mark
from openhorde.server.store.events import TakenJob
from openhorde.server.store.requests import Result
from openhorde.wire.events import QueueEvent, StartEvent, StepEvent

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde


class EventsQuery(Struct, kw_only=True):
    """Where to go on, for clients that cannot set the header Last-Event-ID."""

    last_event_id: Annotated[str, Meta(max_length=1000)] = ""


async def get_events(call: Call) -> Answer | Response:
    """Stream the events of a request of any kind."""
    watcher = await watch(call, uuid_of(call.path["id"], "RequestNotFound"))
    if isinstance(watcher, Answer):
        return watcher
    watches, story = call.horde.watches, watcher.story
    said = call.headers.get(b"last-event-id", b"").decode("latin-1") or call.query.last_event_id
    asked = story.progress.facts.asked if story else 0
    seen = marks.read(said, asked) or marks.nothing(asked)
    if story and story.ended and seen.ended:
        # The one answer at which browsers do not come back again.
        watches.leave(watcher)
        return Answer(b"", 204)
    return EventStream(
        _events(call.horde, watcher, seen),
        on_hang_up=watcher.end,
        on_end=lambda: watches.leave(watcher),
    )


async def _events(horde: "Horde", watcher: Watcher, seen: Mark) -> AsyncGenerator[bytes, None]:
    """What is new, again and again, until the end of the request or of its watching."""
    place: Progress | None = None
    steps_heard = 0
    spoken_at = monotonic()
    while (story := watcher.story) is not None and not watcher.over:
        parts: list[bytes] = []
        seen = seen.within(story.mark)
        if story.progress.facts.rank is None:
            place = None
        elif _tells_place(story, place):
            place = story.progress
            parts.append(_queued(place))
        for mark, job, result in news(story, seen):
            seen = mark
            if result is None:
                parts.append(_started(job, seen))
            else:
                facts = story.progress.facts
                shown = await show_result(horde, facts.kind, result, inline=facts.inline_results)
                parts.append(event("generation", shown, str(seen)))
        for number, part in _steps(watcher, story):
            if number > steps_heard:
                parts.append(part)
        steps_heard = watcher.watch.heard
        if story.ended:
            show = STATUSES[story.progress.facts.kind]
            status = await show(horde, story.progress, story.taken)
            parts.append(event("done", status, str(seen.ending())))
        if not parts and monotonic() - spoken_at >= QUIET_SECONDS_MAX:
            parts.append(COMMENT)
        if parts:
            spoken_at = monotonic()
            yield b"".join(parts)
        if story.ended:
            return
        await watcher.wait()


def news(story: Story, seen: Mark) -> Iterator[tuple[Mark, TakenJob, Result | None]]:
    """What has happened beyond a mark of this story: first the jobs taken, then those finished
    (with their result), each with the mark after it."""
    attempts = [0] * story.progress.facts.asked
    for job in story.taken:
        attempts[job.ordinal - 1] += 1
        if seen.started[job.ordinal - 1] < min(attempts[job.ordinal - 1], marks.ATTEMPTS_MAX):
            seen = seen.starting(job.ordinal)
            yield seen, job, None
    for job in story.taken:
        result = job.finished()
        if result is not None and not seen.finished[job.ordinal - 1]:
            seen = seen.finishing(job.ordinal)
            yield seen, job, result


def _tells_place(story: Story, told: Progress | None) -> bool:
    return not story.ended and (told is None or noticeable(told, story.progress))


def _queued(progress: Progress) -> bytes:
    return event(
        "queued",
        QueueEvent(
            position=progress.queue_position,
            wait_time=progress.wait_seconds,
            is_possible=progress.is_possible,
        ),
    )


def _started(job: TakenJob, mark: Mark) -> bytes:
    data = StartEvent(
        id=str(job.id), worker_name=job.worker_name, model=job.model, ordinal=job.ordinal
    )
    return event("started", data, str(mark))


def _steps(watcher: Watcher, story: Story) -> Iterator[tuple[int, bytes]]:
    running = {job.id for job in story.taken if job.state == "running"}
    for job_id, (number, step) in watcher.watch.steps.items():
        if job_id in running:
            data = StepEvent(id=str(job_id), step=step.step, steps=step.steps)
            yield number, event("progress", data)


OPERATIONS = (
    Operation(
        name="get_image_events",
        method="GET",
        path="/api/v2/generate/events/{id}",
        handler=get_events,
        summary="Be told how far a request of any kind is: a stream of Server-Sent Events",
        tag="generate",
        query=EventsQuery,
        answer=str,
        answers={204: None},
        media_type=MEDIA_TYPE,
        limits=(Limit("30/minute", Bucket.ADDRESS_AND_PATH), Limit("5/second")),
        refusals=("RequestNotFound",),
    ),
)
