# SPDX-License-Identifier: AGPL-3.0-or-later
"""The life of a request as a stream of events, from the start or from where one left off."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from api.push.conftest import Event, Follow, Follower
from cast import Cast, ask, delivery, image_pop, take

from openhorde.server.actions import requests, steps, watching, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.watching import Watches
from openhorde.server.api.push import events
from openhorde.server.boot import open_horde
from openhorde.server.settings import ServerSettings
from openhorde.server.store import events as event_store
from openhorde.server.store.events import Story
from openhorde.server.store.signals import Changed
from openhorde.server.store.statements import Statements


@pytest.fixture
async def other(horde_database: str, horde: Horde, tmp_path: Path) -> AsyncIterator[Horde]:
    """Another process on the same database."""
    settings = ServerSettings(
        database_url=horde_database, data=tmp_path, known_models=None, rate_limits=False
    )
    async with open_horde(settings, "http://horde.test") as opened:
        yield opened


def told(events: list[Event]) -> list[Event]:
    """What is told again to those who come back."""
    return [each for each in events if each.id]


def names(events: list[Event]) -> list[str]:
    return [each.name for each in events]


async def test_a_request_is_told_from_the_queue_to_the_end_across_processes(
    horde: Horde, other: Horde, cast: Cast, follow: Follow
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(other, alice, params={"n": 1, "width": 64, "height": 64, "steps": 4})
    stream = follow(request_id)
    (queued,) = await stream.named("queued")
    assert queued.id == ""
    assert queued.data == {"position": 1, "wait_time": queued.data["wait_time"]} | {
        "is_possible": False
    }
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["access-control-allow-origin"] == "*"
    assert stream.headers["cache-control"] == "no-store"

    (job,) = await take(other, bob)
    (started,) = await stream.named("started")
    assert started.data == {
        "id": str(job),
        "worker_name": "Bob's machine",
        "model": "stable_diffusion",
        "ordinal": 1,
    }
    assert await steps.report(other, bob, job, 3, 4)
    (stepped,) = await stream.named("progress")
    assert (stepped.id, stepped.data) == ("", {"id": str(job), "step": 3, "steps": 4})

    await work.deliver(other, bob, delivery(job))
    events = await stream.all()
    assert names(events) == ["queued", "started", "progress", "generation", "done"]
    generation, done = events[-2:]
    assert generation.data["id"] == str(job)
    assert generation.data["worker_name"] == "Bob's machine"
    assert done.data["done"] is True
    assert done.data["faulted"] is False
    assert done.data["generations"][0]["id"] == str(job)
    assert [each.id for each in events] == ["", "1-0", "", "1-1", "1-1-end"]


async def finished_request(horde: Horde, cast: Cast) -> UUID:
    """One of four jobs, two of which failed at the first attempt, with all of them done."""
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice, params={"n": 4, "width": 64, "height": 64, "steps": 4})
    failures = 2
    while jobs := await take(horde, bob, amount=2):
        for job in jobs:
            faulted = failures > 0
            failures -= faulted
            await work.deliver(horde, bob, delivery(job, faulted=faulted))
    return request_id


async def test_from_every_point_on_the_rest_is_told_on_any_process(
    horde: Horde, other: Horde, cast: Cast, follow: Follow
) -> None:
    request_id = await finished_request(horde, cast)
    whole = await follow(request_id).all()
    assert names(whole) == ["started"] * 6 + ["generation"] * 4 + ["done"]
    assert len({each.id for each in whole}) == len(whole)
    for number, event in enumerate(whole[:-1]):
        rest = await follow(request_id, event.id, of=other).all()
        assert [(each.name, each.id) for each in rest] == [
            (each.name, each.id) for each in whole[number + 1 :]
        ]
    by_query = await follow(request_id, query=f"?last_event_id={whole[4].id}").all()
    assert names(by_query) == names(whole[5:])


async def test_who_breaks_off_again_and_again_while_it_happens_misses_nothing(
    horde: Horde, cast: Cast, follow: Follow
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice, params={"n": 3, "width": 64, "height": 64, "steps": 4})
    patient = follow(request_id)
    heard: list[Event] = []
    last = ""
    for number in range(3):
        (job,) = await take(horde, bob)
        if number == 1:
            await work.deliver(horde, bob, delivery(job, faulted=True))
            (job,) = await take(horde, bob)
        stream = follow(request_id, last)
        wanted = 2 if number == 1 else 1
        heard += await stream.named("started", wanted)
        last = heard[-1].id
        await stream.hang_up()
        await work.deliver(horde, bob, delivery(job))
        stream = follow(request_id, last)
        await stream.named("generation")
        heard += [each for each in told(stream.events) if each.name != "done"]
        last = heard[-1].id
        await stream.hang_up()
    heard += await follow(request_id, last).all()
    whole = told(await patient.all())
    assert sorted(names(heard)) == sorted(names(whole))
    assert {each.data["id"] for each in heard if each.name == "started"} == {
        each.data["id"] for each in whole if each.name == "started"
    }
    assert heard[-1] == whole[-1]


async def test_who_knows_the_end_is_told_not_to_come_back(
    horde: Horde, cast: Cast, follow: Follow
) -> None:
    request_id = await finished_request(horde, cast)
    end = (await follow(request_id).all())[-1]
    again = follow(request_id, end.id)
    await again.all()
    assert (again.status, again.body) == (204, b"")


@pytest.mark.parametrize("last_event_id", ["x", "9-9", "1-1-1-1", "end", "-", "zzzz-zzzz", "é"])
async def test_an_event_id_that_is_none_begins_at_the_beginning(
    horde: Horde, cast: Cast, follow: Follow, last_event_id: str
) -> None:
    request_id = await ask(horde, await cast.alice())
    await take(horde, await cast.bob())
    stream = follow(request_id, last_event_id)
    if last_event_id == "9-9":
        # More than has happened is all that has happened.
        await stream.until(lambda each: each.status == 200)
    else:
        await stream.named("started")


async def test_an_unknown_request_is_answered_like_its_status(follow: Follow) -> None:
    for request_id in (uuid4(), "no-uuid"):
        stream = follow(request_id)
        await stream.all()
        assert stream.status == 404
        assert b"RequestNotFound" in stream.body


async def test_a_cancelled_request_ends_its_stream(
    horde: Horde, cast: Cast, follow: Follow
) -> None:
    request_id = await ask(horde, await cast.alice())
    stream = follow(request_id)
    await stream.named("queued")
    await requests.cancel(horde, request_id)
    done = (await stream.all())[-1]
    assert (done.name, done.data["done"], done.data["generations"]) == ("done", True, [])


async def test_a_request_that_fails_too_often_ends_its_stream_as_faulted(
    horde: Horde, cast: Cast, follow: Follow
) -> None:
    request_id = await ask(horde, await cast.alice())
    stream = follow(request_id)
    bob = await cast.bob()
    for _ in range(3):
        (job,) = await take(horde, bob)
        await work.deliver(horde, bob, delivery(job, faulted=True))
    events = await stream.all()
    assert (events[-1].name, events[-1].data["faulted"]) == ("done", True)


async def test_a_job_that_is_taken_back_is_told_again_when_it_starts_again(
    horde: Horde, cast: Cast, follow: Follow
) -> None:
    request_id = await ask(horde, await cast.alice())
    bob = await cast.bob()
    stream = follow(request_id)
    await stream.named("queued")
    popped = await work.pop(horde, bob, image_pop(name="first"), "127.0.0.1")
    await stream.named("started")
    await work.take_back(horde, popped.jobs)
    await stream.named("queued", 2)
    await work.pop(horde, bob, image_pop(name="second"), "127.0.0.1")
    started = await stream.named("started", 2)
    assert [each.data["worker_name"] for each in started] == ["first", "second"]


def _is_at(place: int, stream: Follower) -> bool:
    return bool(stream.events[-1].data["position"] == place)


async def test_the_place_in_the_queue_is_told_when_it_changes(
    horde: Horde, cast: Cast, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(watching, "PLACE_SECONDS", 0.0)
    alice, bob = await cast.alice(), await cast.bob()
    for _ in range(2):
        await ask(horde, alice)
    last = await ask(horde, alice)
    stream = follow(last)
    await stream.named("queued")
    for place in (2, 1):
        await take(horde, bob)
        await stream.until(partial(_is_at, place))
    assert names(stream.events) == ["queued"] * len(stream.events)


async def test_a_quiet_stream_says_that_it_stands(
    horde: Horde, cast: Cast, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(watching, "QUIET_SECONDS_MAX", 0.0)
    monkeypatch.setattr(events, "QUIET_SECONDS_MAX", 0.0)
    stream = follow(await ask(horde, await cast.alice()))
    await stream.until(lambda each: each.comments >= 2)


async def test_a_reader_that_is_stuck_gets_the_newest_state_once(
    horde: Horde, cast: Cast, follow: Follow
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await ask(horde, alice)
    stream, quick = follow(request_id), follow(request_id)
    (job,) = await take(horde, bob)
    await stream.named("started")
    await quick.named("started")
    stream.stop_reading()
    for step in range(1, 101):
        assert await steps.report(horde, bob, job, step, 100)
    await quick.until(lambda each: each.events[-1].data.get("step") == 100)
    stream.read_on()
    await stream.until(lambda each: each.events[-1].data.get("step") == 100)
    assert len(await stream.named("progress")) <= 3


async def test_streams_of_one_request_share_a_reading(
    horde: Horde, cast: Cast, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await ask(horde, await cast.alice())
    streams = [follow(request_id) for _ in range(20)]
    for stream in streams:
        await stream.named("queued")
    readings = 0
    watch = event_store.watch

    async def counted(statements: Statements, watched_id: UUID) -> Story | None:
        nonlocal readings
        readings += 1
        return await watch(statements, watched_id)

    monkeypatch.setattr(event_store, "watch", counted)
    for _ in range(50):
        horde.signals.send(Changed(request_id))
    (job,) = await take(horde, await cast.bob())
    for stream in streams:
        await stream.named("started")
    assert readings <= 4
    assert job


async def test_an_interruption_of_the_signals_is_made_up_for(
    horde: Horde, cast: Cast, follow: Follow
) -> None:
    request_id = await ask(horde, await cast.alice())
    stream = follow(request_id)
    await stream.named("queued")
    await horde.pool.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'openhorde signals' and datname = current_database()"
    )
    await horde.pool.execute("update jobs set state = 'cancelled'")
    await stream.named("done")


async def test_a_lost_signal_delays_an_event_only(
    horde: Horde, cast: Cast, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(watching, "READ_SECONDS", 0.05)
    request_id = await ask(horde, await cast.alice())
    stream = follow(request_id)
    await stream.named("queued")
    await horde.pool.execute("update jobs set state = 'cancelled'")
    await stream.named("done")


async def test_there_is_a_bound_for_each_address_and_for_all(
    horde: Horde, cast: Cast, follow: Follow
) -> None:
    request_id = await ask(horde, await cast.alice())
    bounded = replace(
        horde,
        watches=Watches(
            horde.statements,
            horde.signals,
            horde.queue,
            horde.workforce,
            watchers_max=3,
            watchers_per_address_max=2,
        ),
    )
    held = [follow(request_id, of=bounded) for _ in range(2)]
    for stream in held:
        await stream.named("queued")
    refused = follow(request_id, of=bounded)
    await refused.all()
    assert refused.status == 429
    assert refused.headers["retry-after"] == "10"
    third = follow(request_id, of=bounded, address="192.0.2.1")
    await third.named("queued")
    full = follow(request_id, of=bounded, address="192.0.2.2")
    await full.all()
    assert full.status == 503
    assert full.headers["retry-after"] == "10"
    await held[0].hang_up()
    again = follow(request_id, of=bounded)
    await again.named("queued")


async def test_a_server_that_stops_ends_its_streams(
    horde: Horde, cast: Cast, follow: Follow
) -> None:
    request_id = await ask(horde, await cast.alice())
    stream = follow(request_id)
    await stream.named("queued")
    horde.watches.close()
    events = await stream.all()
    assert "done" not in names(events)
    late = follow(request_id)
    await asyncio.wait_for(late.all(), 30)
