# SPDX-License-Identifier: AGPL-3.0-or-later
"""Watching by events: what is seen, broken lines, and hordes that tell in another way."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from client.playing_horde import (
    DONE,
    DRAWING,
    GOOD_KEY,
    REQUEST_ID,
    WAITING,
    Cut,
    Hold,
    PlayingHorde,
    event,
)
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse, Response

from openhorde.client import (
    AsyncHorde,
    Drawing,
    Horde,
    HordeError,
    HordeUnreachable,
    Look,
    transport,
)
from openhorde.client.looks import View
from openhorde.wire.requests import RequestStatus

JOB_ID = "00000000-0000-4000-8000-000000000100"
EVENTS = "generate/events/{id}"
CHECK = "generate/check/{id}"
RUNNING = Drawing(id=JOB_ID, worker_name="Bob's machine", model="openhorde_shapes")


def queued(position: int, event_id: int | str = "") -> bytes:
    data = {"position": position, "wait_time": 4 * position, "is_possible": True}
    return event("queued", data, event_id)


def started(event_id: int | str = "") -> bytes:
    data = {"id": JOB_ID, "worker_name": "Bob's machine", "model": "openhorde_shapes"}
    return event("started", data, event_id)


def step(number: int, event_id: int | str = "") -> bytes:
    return event("progress", {"id": JOB_ID, "step": number, "steps": 20}, event_id)


def generation(playing: PlayingHorde, event_id: int | str = "") -> bytes:
    return event("generation", playing.status()["generations"][0], event_id)


def done(playing: PlayingHorde, event_id: int | str = "") -> bytes:
    return event("done", playing.status(), event_id)


async def watched(horde: AsyncHorde) -> list[Look]:
    return [look async for look in horde.watch(REQUEST_ID)]


async def test_everything_is_seen_as_it_happens(horde: AsyncHorde, playing: PlayingHorde) -> None:
    script = [b": hello\n\n", queued(2, 1), queued(1, 2), started(3), step(1, 4), step(2, 5)]
    playing.streams = [[*script, generation(playing, 6), done(playing, 7)]]
    waiting = Look(queue_position=2, wait_seconds=8)
    drawing = Look(wait_seconds=4, processing=1, drawings=(RUNNING,))
    looks = await watched(horde)
    assert looks[:-1] == [
        waiting,
        replace(waiting, queue_position=1, wait_seconds=4),
        drawing,
        replace(drawing, drawings=(replace(RUNNING, step=1, steps=20),)),
        replace(drawing, drawings=(replace(RUNNING, step=2, steps=20),)),
        Look(wait_seconds=4, finished=1),
    ]
    assert looks[-1].done
    assert isinstance(looks[-1].status, RequestStatus)
    assert looks[-1].status.generations[0].id == JOB_ID
    assert not playing.calls(CHECK)


async def test_pictures_come_with_the_last_event(horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.streams = [[queued(1), done(playing)]]
    looks: list[Look] = []
    [picture] = await horde.image("a fox", progress=looks.append)
    assert picture.content == playing.pictures[0]
    assert [look.queue_position for look in looks] == [1, 0]
    assert not playing.calls("generate/status/{id}")


async def test_a_broken_stream_is_taken_up_where_it_was(
    horde: AsyncHorde, playing: PlayingHorde, pauses: list[float]
) -> None:
    playing.streams = [
        [queued(1, 11), started(12), step(1, 13), b"id: 14\nevent: progr", Cut],
        [step(1, 13), step(2, 14), done(playing, 15)],
    ]
    looks = await watched(horde)
    assert [look.drawings[0].step for look in looks if look.drawings] == [0, 1, 2]
    assert len(looks) == 5
    first, second = playing.calls(EVENTS)
    assert "last-event-id" not in first.headers
    assert second.headers["last-event-id"] == "13"
    assert pauses == [0.5]


async def test_a_stream_may_end_and_be_opened_again(
    horde: AsyncHorde, playing: PlayingHorde, pauses: list[float]
) -> None:
    """As through a proxy that closes every connection after a while."""
    playing.streams = [[b"retry: 2500\n\n", queued(n, n)] for n in range(9, 0, -1)]
    playing.streams.append([done(playing)])
    looks = await watched(horde)
    assert [look.queue_position for look in looks] == [*range(9, 0, -1), 0]
    assert pauses == [2.5] * 9
    assert not playing.calls(CHECK)


async def test_streams_without_news_are_given_up(horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.streams = [[queued(2)], [b": nothing\n\n"]]
    looks = await watched(horde)
    assert [look.done for look in looks] == [False, False, False, True]
    assert len(playing.calls(EVENTS)) == 4
    assert len(playing.calls(CHECK)) == 3


@pytest.mark.parametrize(
    "answer",
    [
        JSONResponse({"message": "no"}, 404),
        JSONResponse({"message": "no"}, 405),
        JSONResponse({"message": "no"}, 501),
        JSONResponse({"message": "too many streams"}, 429, {"Retry-After": "60"}),
        JSONResponse({"message": "too many streams"}, 503, {"Retry-After": "10"}),
        Response("<html>", 200, media_type="text/html"),
        Response("", 302, {"Location": "/elsewhere"}),
    ],
)
async def test_without_a_stream_the_request_is_asked_after(
    horde: AsyncHorde, playing: PlayingHorde, pauses: list[float], answer: Response
) -> None:
    playing.refusals[EVENTS] = [answer]
    playing.streams = []
    looks = await watched(horde)
    assert [look.done for look in looks] == [False, False, True]
    assert len(playing.calls(EVENTS)) == 1
    assert pauses == [0.5, 0.5]


async def test_a_request_nobody_knows_is_an_error(horde: AsyncHorde, playing: PlayingHorde) -> None:
    refusal = {"message": "Request not found.", "rc": "RequestNotFound"}
    playing.refuse(EVENTS, 404, refusal)
    playing.refuse(CHECK, 404, refusal)
    with pytest.raises(HordeError, match="Request not found"):
        await watched(horde)


GARBAGE = [
    b"event: queued\ndata: {\n\n",
    b'event: queued\ndata: {"position": "far"}\n\n',
    b"event: progress\n\n",
    b"event: \xff\xfe\ndata: \xff\n\n",
    b"data: 1\n\n",
    b"nonsense\n\n",
    event("from_the_future", {"id": 1}),
    event("progress", {"id": "another", "step": 1, "steps": 2}),
    event("generation", []),
]


async def test_garbage_is_passed_over(horde: AsyncHorde, playing: PlayingHorde) -> None:
    playing.streams = [[*GARBAGE, queued(1), *GARBAGE, done(playing)]]
    looks = await watched(horde)
    assert [(look.queue_position, look.done) for look in looks[-2:]] == [(1, False), (0, True)]
    assert not playing.calls(CHECK)


async def test_an_end_that_is_not_understood_is_asked_about(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    playing.checks = [DONE]
    playing.streams = [[queued(1), event("done", {"done": "perhaps"}), Hold]]
    assert [look.done for look in await watched(horde)] == [False, True]


async def test_a_restart_of_the_server_is_survived() -> None:
    """The new process counts its events anew, and tells again what it knows."""
    playing = PlayingHorde()
    playing.streams = [
        [queued(1, "a-1"), started("a-2"), step(7, "a-3"), Cut],
        [queued(0, "b-1"), started("b-2"), step(7, "b-3"), step(8, "b-4"), done(playing, "b-5")],
    ]
    pauses: list[float] = []
    with ExitStack() as server:
        server.enter_context(playing.running())

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 1:
                await asyncio.to_thread(server.close)
            elif len(pauses) == 3:
                server.enter_context(playing.running())

        async with AsyncHorde(playing.url, sleep=sleep) as horde:
            looks = await watched(horde)
    assert [look.drawings[0].step for look in looks if look.drawings] == [0, 7, 7, 8]
    assert [look.wait_seconds for look in looks if look.drawings] == [4, 4, 0, 0]
    assert looks[-1].done
    assert pauses == [0.5, 1.0, 2.0]


async def test_an_outage_may_be_too_long() -> None:
    playing = PlayingHorde(streams=[[queued(1), Cut]])
    pauses: list[float] = []
    with ExitStack() as server:
        server.enter_context(playing.running())

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            await asyncio.to_thread(server.close)

        async with AsyncHorde(playing.url, sleep=sleep, outage_seconds=5) as horde:
            with pytest.raises(HordeUnreachable):
                await watched(horde)
    assert pauses == [0.5, 1.0, 2.0, 4.0]


async def test_a_stream_that_fell_silent_is_opened_again(
    horde: AsyncHorde, playing: PlayingHorde, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "STREAM_SILENCE_SECONDS_MAX", 0.1)
    playing.streams = [[queued(1, 5), Hold], [done(playing)]]
    assert [look.done for look in await watched(horde)] == [False, True]
    assert playing.calls(EVENTS)[1].headers["last-event-id"] == "5"


async def test_a_check_is_held_where_there_are_no_streams(
    horde: AsyncHorde, playing: PlayingHorde
) -> None:
    playing.checks = [WAITING, WAITING, DRAWING, DONE]
    playing.states = ["s1", "s1", "s2", "s3"]
    looks = await watched(horde)
    assert [(look.processing, look.done) for look in looks] == [(0, False), (1, False), (0, True)]
    assert [one.query for one in playing.calls(CHECK)] == [
        {"wait": "0"},
        {"wait": "25", "since": "s1"},
        {"wait": "25", "since": "s1"},
        {"wait": "25", "since": "s2"},
    ]


@pytest.mark.parametrize(("status", "waits"), [(429, [10.0]), (503, [])])
async def test_where_no_more_checks_are_held_short_ones_are_made(
    horde: AsyncHorde,
    playing: PlayingHorde,
    pauses: list[float],
    status: int,
    waits: list[float],
) -> None:
    playing.refuse(CHECK, status, {"message": "too many wait"}, Retry_After="10")
    looks = await watched(horde)
    assert [look.done for look in looks] == [False, False, True]
    assert [one.query for one in playing.calls(CHECK)] == [{"wait": "0"}, {}, {}, {}]
    assert pauses == [*waits, 0.5, 0.5]


async def test_a_horde_that_holds_nothing_is_not_hurried(
    horde: AsyncHorde, playing: PlayingHorde, pauses: list[float]
) -> None:
    playing.checks = [WAITING, WAITING, DONE]
    playing.states = ["s1"]
    await watched(horde)
    assert len(pauses) == 2
    assert all(0 < pause <= 0.5 for pause in pauses)


async def test_a_cancelled_task_lets_go_of_its_stream(playing: PlayingHorde) -> None:
    playing.streams = [[queued(1), Hold]]
    seen = asyncio.Event()
    async with AsyncHorde(playing.url, GOOD_KEY) as horde:
        task = asyncio.create_task(horde.image("a fox", progress=lambda look: seen.set()))
        await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(playing.left.wait, 60)
    assert [one.method for one in playing.calls("generate/status/{id}")] == ["DELETE"]


def test_the_blocking_twin_lets_go_of_its_stream(playing: PlayingHorde) -> None:
    playing.streams = [[queued(1), Hold]]
    with Horde(playing.url) as horde:
        looks = horde.watch(REQUEST_ID)
        assert next(looks).queue_position == 1
        looks.close()  # type: ignore[attr-defined]
        assert playing.left.wait(60)


def test_the_blocking_twin_hears_of_progress_too(playing: PlayingHorde) -> None:
    playing.streams = [[queued(1), started(), step(3), done(playing)]]
    heard: list[Look] = []
    with Horde(playing.url) as horde:
        horde.image("a fox", progress=heard.append)
    assert [look.queue_position for look in heard] == [1, 0, 0, 0]
    assert heard[2].drawings[0].step == 3


@st.composite
def broken_lines(draw: st.DrawFn) -> tuple[list[Any], list[Any]]:
    """A story of some jobs, and the same with what was told already told again here and there."""
    story: list[Any] = []
    for picture in range(1, draw(st.integers(1, 3)) + 1):
        attempts = draw(st.integers(1, 3))
        for attempt in range(attempts):
            job_id = f"{picture}.{attempt}"
            worker = {"id": job_id, "worker_name": f"worker {attempt}", "model": "m"}
            story.append(("started", {**worker, "ordinal": picture}))
            numbers = sorted(draw(st.sets(st.integers(1, 9), max_size=4)))
            story += [("progress", {"id": job_id, "step": one, "steps": 9}) for one in numbers]
        img = {"img": "", "seed": "1", "worker_id": "w"}
        story.append(("generation", {**worker, **img}))
    told: list[Any] = []
    for index, one in enumerate(story):
        told.append(one)
        if draw(st.booleans()):
            told += story[draw(st.integers(0, index)) : index + 1]
    return story, told


def looks_of(story: list[Any]) -> list[Look]:
    view = View()
    looks: list[Look] = []
    for name, data in story:
        before = view.look
        assert view.heard(name, msgspec.json.encode(data).decode())
        if view.look is not None and view.look != before:
            looks.append(view.look)
    return looks


@given(broken_lines())
def test_what_is_told_again_is_not_news(stories: tuple[list[Any], list[Any]]) -> None:
    story, told = stories
    assert looks_of(told) == looks_of(story)
    assert len(looks_of(story)) == len(story)
    assert all(look.processing <= 1 for look in looks_of(story))
