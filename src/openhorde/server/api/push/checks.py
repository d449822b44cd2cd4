# SPDX-License-Identifier: AGPL-3.0-or-later
"""A check that is held until something has happened."""

import asyncio
from typing import Annotated

from msgspec import Meta, Struct

from openhorde.server.actions.watching import Watcher
from openhorde.server.api.operations import Answer, Call, uuid_of
from openhorde.server.api.push.watching import watch
from openhorde.server.api.v2.requests_shown import check_shown
from openhorde.server.domain.refusals import Refusal

EVENT_ID_HEADER = "Event-Id"


class CheckQuery(Struct, kw_only=True):
    """How long to hold the call, and what the caller knows already."""

    wait: (
        Annotated[
            float,
            Meta(ge=0, le=60, description="seconds to hold the call until something has happened"),
        ]
        | None
    ) = None
    since: (
        Annotated[
            str,
            Meta(max_length=1000, description="the Event-Id of an earlier answer, or of an event"),
        ]
        | None
    ) = None


async def held_check(call: Call, query: CheckQuery) -> Answer:
    """How far a request is, as soon as that is not what the caller knows, or time is over."""
    request_id = uuid_of(call.path["id"], "RequestNotFound")
    watcher = await watch(call, request_id)
    if isinstance(watcher, Answer):
        return watcher
    try:
        if query.wait:
            await _hold(call, watcher, query.wait, query.since)
        story = watcher.story
    finally:
        call.horde.watches.leave(watcher)
    if story is None:
        raise Refusal("RequestNotFound", id=str(request_id))
    return Answer(check_shown(story.progress), headers=((EVENT_ID_HEADER, str(story.mark)),))


async def _hold(call: Call, watcher: Watcher, wait_seconds: float, since: str | None) -> None:
    ending = asyncio.get_running_loop().call_later(wait_seconds, watcher.end)
    listening = asyncio.ensure_future(call.hung_up())
    listening.add_done_callback(lambda _: watcher.end())
    try:
        while not watcher.over and (story := watcher.story) is not None and not story.ended:
            if since is None:
                since = str(story.mark)
            if str(story.mark) != since:
                return
            await watcher.wait()
    finally:
        ending.cancel()
        listening.cancel()
