# SPDX-License-Identifier: AGPL-3.0-or-later
"""Watching a request: the horde tells if it can; else it is asked, held on the line or paced."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from openhorde.client.errors import HordeError
from openhorde.client.kinds import Asked, Kind
from openhorde.client.looks import Look, Misunderstood, View
from openhorde.client.transport import (
    FULL_STATUSES,
    LineCut,
    NoStream,
    Patience,
    Transport,
)

EVENTS = "generate/events"
"""Of requests of every kind."""
SLOWEST_SECONDS = 2.0
GROWTH = 1.25
HELD_SECONDS = 25.0
STATE_HEADER = "Event-Id"
USELESS_STREAMS_MAX = 3
"""So many streams in a row without any news, and the request is asked after instead."""
RECONNECT_SECONDS = 0.5
RECONNECT_SECONDS_MAX = 30.0


class Pace:
    """The pause before a request of a kind is asked after again: short after news or near the end,
    then longer, up to 2 s."""

    def __init__(self, kind: Kind[Any, Any]) -> None:
        self._kind = kind
        self._pause_seconds = kind.pause_seconds_min
        self._previous: Look | None = None

    def after(self, look: Look) -> float:
        """Seconds to wait after this look."""
        news = replace(look, wait_seconds=0)
        near = self._kind.tells_wait and look.wait_seconds <= 1
        if news != self._previous or near:
            self._pause_seconds = self._kind.pause_seconds_min
        else:
            self._pause_seconds = min(self._pause_seconds * GROWTH, SLOWEST_SECONDS)
        self._previous = news
        return self._pause_seconds


async def watch(
    transport: Transport, kind: Kind[Any, Any], request_id: str
) -> AsyncGenerator[Look, None]:
    """Each look at a request that shows something new, until it is done or faulted.

    Raises HordeError when the horde does not know the request, or stays away too long.
    """
    view = View(kind)
    async with aclosing(_told(transport, f"{EVENTS}/{request_id}", view)) as told:
        async for look in told:
            yield look
            if look.done or look.faulted:
                return
    async with aclosing(_asked(transport, kind, request_id, view)) as asked:
        async for look in asked:
            yield look


async def _told(transport: Transport, path: str, view: View) -> AsyncGenerator[Look, None]:
    """The looks that the event stream gives; ends early where asking is the better way.

    A stream that breaks is taken up where it was; what comes twice is not news.
    """
    last_event_id = ""
    useless = 0
    pause_seconds = RECONNECT_SECONDS
    patience = Patience(transport.outage_seconds, transport.sleep)
    while useless < USELESS_STREAMS_MAX:
        events = transport.events(path, last_event_id)
        try:
            async with aclosing(events):
                async for event in events:
                    last_event_id = event.id or last_event_id
                    if event.retry is not None:
                        pause_seconds = min(event.retry / 1000, RECONNECT_SECONDS_MAX)
                    before = view.look
                    if view.heard(event.event, event.data):
                        useless = -1  # its own end counts below
                        patience.reset()
                    if view.look is not None and view.look != before:
                        yield view.look
        except (NoStream, Misunderstood):
            return
        except HordeError as error:
            useless += isinstance(error, LineCut)
            await patience.bear(error)
        else:
            useless += 1
            await transport.sleep(pause_seconds)


async def _asked(
    transport: Transport, kind: Kind[Any, Any], request_id: str, view: View
) -> AsyncGenerator[Look, None]:
    """The looks that checks give: held by hordes that can, paced for those that cannot."""
    path = f"{kind.check}/{request_id}"
    pace = Pace(kind)
    state: str | None = None
    holding = True

    async def ask() -> tuple[Asked, str | None]:
        nonlocal holding
        if holding:
            try:
                return await _held_check(transport, path, kind.check_type, state)
            except HordeError as error:
                if error.status not in FULL_STATUSES:
                    raise
                # No room for one more that waits on the line; there may be for a short question.
                holding = False
                if error.status == 429:
                    raise  # perhaps a rate limit, which is to be honoured first
        return await transport.call(kind.check_type, "GET", path), None

    while True:
        began = time.monotonic()
        answer, state = await transport.patiently(ask)
        before = view.look
        look = view.checked(answer)
        if look != before or look.done or look.faulted:
            yield look
        if look.done or look.faulted:
            return
        pause_seconds = pace.after(look)
        if state is not None:
            # What a horde held that long needs no pause; one that answers at once is not hurried.
            pause_seconds = max(0.0, kind.pause_seconds_min - (time.monotonic() - began))
        await transport.sleep(pause_seconds)


async def _held_check(
    transport: Transport, path: str, answer: type[Asked], state: str | None
) -> tuple[Asked, str | None]:
    """How far the request is as soon as that is not `state`, and the state it is in then."""
    held_seconds = HELD_SECONDS if state is not None else 0.0
    query = {"wait": f"{held_seconds:g}"} | ({"since": state} if state is not None else {})
    found, headers = await transport.exchange(
        answer, "GET", path, query=query, held_seconds=held_seconds
    )
    return found, headers.get(STATE_HEADER)
