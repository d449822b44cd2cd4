# SPDX-License-Identifier: AGPL-3.0-or-later
"""Webhooks: called for each finished job, signed, until they have understood or a day is over."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from cast import Cast, ask, delivery, take
from standardwebhooks import Webhook
from tasks.receiver import Receiver

from openhorde.server.actions import requests, work
from openhorde.server.actions import webhooks as actions
from openhorde.server.actions.generations import generation
from openhorde.server.actions.horde import Horde
from openhorde.server.domain.webhooks import KEPT, LEFT_ALONE, LEFT_ALONE_FOR, TRIED_FOR, Verdict
from openhorde.server.kit.clock import FixedClock
from openhorde.server.kit.fetch import Fetcher
from openhorde.server.store import webhooks
from openhorde.server.store.statements import Statements
from openhorde.server.store.users import Account
from openhorde.server.store.webhooks import LoggedCall
from openhorde.server.tasks import call_webhooks, purge_webhooks


@pytest.fixture
def horde(calling_horde: Horde) -> Horde:
    """The horde of these tests."""
    return calling_horde


People = tuple[Account, Account]


@pytest.fixture
async def people(cast: Cast) -> People:
    """Alice, who asks, and Bob, who works."""
    return await cast.alice(), await cast.bob()


class _Unchecked(Fetcher):
    def check_post(self, url: str) -> None:
        """Take any."""


async def finish(horde: Horde, people: People, *urls: str | None, jobs: int = 1) -> list[UUID]:
    """Requests with these webhooks, all of whose jobs are delivered. Webhooks that would be refused
    now are among them: an earlier version took them."""
    alice, bob = people
    taking = replace(horde, webhook_fetcher=_Unchecked())
    params = {"width": 64, "height": 64, "steps": 4, "n": jobs}
    asked = []
    for url in urls:
        request_id = await ask(taking, alice, webhook=url, params=params)
        for _ in range(jobs):
            (job_id,) = await take(horde, bob)
            await work.deliver(horde, bob, delivery(job_id))
        asked.append(request_id)
    return asked


async def claim(
    horde: Horde,
    statements: Statements | None = None,
    *,
    calls_max: int = 9,
    lease: timedelta = call_webhooks.LEASE,
) -> list[webhooks.DueCall]:
    """Calls that are due, taken by somebody."""
    now = horde.clock.now()
    calls, _ = await webhooks.claim(
        statements or horde.statements,
        now=now,
        again_at=now + lease,
        calls_max=calls_max,
        calls_per_host_max=9,
        making={},
        after="",
    )
    return calls


async def log_of(horde: Horde, request_id: UUID) -> LoggedCall:
    """The one call of a request."""
    (logged,) = await webhooks.log(horde.statements, request_id)
    return logged


async def test_a_finished_job_is_told_once_and_signed(
    horde: Horde, people: People, receiver: Receiver
) -> None:
    (request_id,) = await finish(horde, people, receiver.url(path="/hook?a=b"))
    await call_webhooks.run(horde)
    await call_webhooks.run(horde)
    (heard,) = receiver.heard
    assert heard.path == "/hook?a=b"
    assert heard.headers["content-type"] == "application/json"
    told = Webhook(actions.secret(horde, request_id)).verify(heard.body, heard.headers)
    _, (job,) = await requests.read(horde, request_id)
    result = job.finished()
    assert result is not None
    shown = msgspec.to_builtins(await generation(horde, result, inline=False))
    reward_milli = await horde.pool.fetchval("select reward_milli from jobs")
    assert told.pop("img").startswith(f"http://horde.test/blobs/{result.id}")
    del shown["img"]
    assert told == shown | {"request": str(request_id), "kudos": reward_milli / 1000}
    logged = await log_of(horde, request_id)
    assert (logged.state, logged.attempts, logged.last_status) == ("delivered", 1, 204)
    assert (str(logged.id), logged.job_id) == (heard.headers["webhook-id"], result.id)
    assert (logged.last_error, logged.due_at) == (None, None)


async def test_each_job_of_a_request_is_told(
    horde: Horde, people: People, receiver: Receiver
) -> None:
    (request_id,) = await finish(horde, people, receiver.url(), jobs=3)
    await call_webhooks.run(horde)
    _, results = await requests.read(horde, request_id)
    assert sorted(heard.told["id"] for heard in receiver.heard) == sorted(
        str(result.id) for result in results
    )
    assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 3


async def test_without_a_webhook_nobody_is_told(horde: Horde, people: People) -> None:
    await finish(horde, people, None)
    assert await horde.pool.fetchval("select count(*) from webhook_calls") == 0


async def test_a_job_that_failed_is_not_told(
    horde: Horde, people: People, receiver: Receiver
) -> None:
    alice, bob = people
    await ask(horde, alice, webhook=receiver.url())
    (job_id,) = await take(horde, bob)
    await work.deliver(horde, bob, delivery(job_id, faulted=True))
    assert await horde.pool.fetchval("select count(*) from webhook_calls") == 0


async def test_a_receiver_that_fails_is_called_again(
    horde: Horde, people: People, receiver: Receiver, clock: FixedClock
) -> None:
    receiver.answers = [
        "500 Oops",
        "302 Found\r\nLocation: https://other.example/",
        "429 Too Many\r\nRetry-After: 600",
    ]
    (request_id,) = await finish(horde, people, receiver.url())
    pauses = []
    for attempt in range(1, 4):
        await call_webhooks.run(horde)
        logged = await log_of(horde, request_id)
        assert (logged.state, logged.attempts) == ("waiting", attempt)
        assert logged.due_at is not None
        pauses.append((logged.due_at - clock.now()).total_seconds())
        clock.set(logged.due_at - timedelta(milliseconds=1))
        await call_webhooks.run(horde)
        assert len(receiver.heard) == attempt
        clock.set(logged.due_at)
    await call_webhooks.run(horde)
    assert (await log_of(horde, request_id)).state == "delivered"
    assert [heard.host for heard in receiver.heard] == ["hook.example"] * 4
    assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 1
    assert len({heard.headers["webhook-timestamp"] for heard in receiver.heard}) == 4
    assert 3 < pauses[0] < 7 < pauses[1] < 20
    assert pauses[2] == 600


async def test_what_the_log_says_of_failures(
    horde: Horde, people: People, receiver: Receiver
) -> None:
    receiver.answers = ["500 Oops", "301 Moved"]
    urls = [receiver.url(), receiver.url(), receiver.url("unknown.example")]
    found = await finish(horde, people, *urls)
    for request_id in found[:2]:
        await horde.pool.execute(
            "update webhook_calls set due_at = due_at - interval '1 day' where request_id = $1",
            request_id,
        )
    await call_webhooks.run(horde)
    first, second, third = [(await log_of(horde, request_id)).last_error for request_id in found]
    assert {first, second} == {
        "The host answered 500.",
        "The host answered 301; redirects are not followed.",
    }
    assert third == "The host cannot be reached: no address for unknown.example."


async def test_a_dead_host_holds_nobody_up(
    horde: Horde, people: People, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_webhooks, "LOOK_SECONDS", 0.01)
    dead = call_webhooks.CALLS_PER_HOST_MAX
    await finish(horde, people, receiver.url("dead.example"), jobs=dead + 2)
    await finish(horde, people, receiver.url())
    calling = asyncio.create_task(call_webhooks.run(horde))
    await receiver.until(
        lambda: len(receiver.of("dead.example")) == dead and len(receiver.of("hook.example")) == 1
    )
    await finish(horde, people, receiver.url("other.example"))
    await receiver.until(lambda: len(receiver.of("other.example")) == 1)
    assert len(receiver.of("dead.example")) == dead
    assert not calling.done()
    receiver.ended.set()
    await calling
    assert len(receiver.of("dead.example")) == dead + 2
    states = await horde.pool.fetch("select state, count(*) from webhook_calls group by state")
    assert dict(states) == {"waiting": dead + 2, "delivered": 2}


async def test_the_least_tried_go_first(horde: Horde, people: People, receiver: Receiver) -> None:
    await finish(horde, people, *[receiver.url(f"{name}.example") for name in ("a", "b", "c")])
    await horde.pool.execute("update webhook_calls set attempts = 1 where origin !~ '//c'")
    await horde.pool.execute(
        "update webhook_calls set due_at = due_at - interval '1 hour' where origin ~ '//b'"
    )
    claimed = [await claim(horde, calls_max=1) for _ in range(4)]
    assert [call.url[8] for calls in claimed for call in calls] == ["c", "b", "a"]


async def test_every_host_has_its_turn_however_few_are_looked_at(
    horde: Horde, people: People, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "HOSTS_MAX", 1)
    monkeypatch.setattr(call_webhooks, "CALLS_MAX", 1)
    hosts = ("hook.example", "other.example", "unknown.example")
    await finish(horde, people, *[receiver.url(host) for host in hosts], jobs=2)
    await call_webhooks.run(horde)
    assert [heard.host for heard in receiver.heard] == ["hook.example", "other.example"] * 2
    attempts = await horde.pool.fetchval("select sum(attempts) from webhook_calls")
    assert attempts == 6


@pytest.mark.parametrize(
    ("host", "error"),
    [
        ("inside.example", "The host has an address that is not public; such are not called."),
        ("127.0.0.2", "The host has an address that is not public; such are not called."),
        ("me@hook.example", "The URL cannot be called: a URL with a user name or password"),
    ],
)
async def test_where_nothing_is_called(
    horde: Horde, people: People, receiver: Receiver, host: str, error: str
) -> None:
    (request_id,) = await finish(horde, people, receiver.url(host))
    await call_webhooks.run(horde)
    assert not receiver.heard
    logged = await log_of(horde, request_id)
    assert (logged.state, logged.last_status) == ("given_up", None)
    assert (logged.last_error or "").startswith(error)


NASTY = (
    # As many bytes as the wire allows, and none that packing would save.
    "https://" + "".join(chr(0x10000 + index * 7919 % 0xF0000) for index in range(1016)),
    *("https://" + "ä" * 1016, "https://" + "a." * 500, "https:///", "https://[::1", "https://a b"),
    *("https://%00%00", "https://\n\n\n\n", "https://xn--a", "https://a..b/", "https://a:99999/"),
    *("https://?", "https://\ud7ff\u202e/", "https://a:b@c:d@e/", "https://0x7f000001/"),
    *("https://[fe80::1%25x]", "https://a\\@b/"),
)


async def test_no_url_stands_in_the_way_of_a_delivery(horde: Horde, people: People) -> None:
    asked = await finish(horde, people, *[url.ljust(10, "/") for url in NASTY])
    await call_webhooks.run(horde)
    for request_id, url in zip(asked, NASTY, strict=True):
        assert (await log_of(horde, request_id)).last_error, url


async def test_a_crash_between_call_and_record_repeats_the_call(
    horde: Horde,
    people: People,
    receiver: Receiver,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (request_id,) = await finish(horde, people, receiver.url())

    async def crash(*_: object, **__: object) -> None:
        raise ConnectionError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(webhooks, "record", crash)
        await call_webhooks.run(horde)
    await call_webhooks.run(horde)
    assert len(receiver.heard) == 1
    clock.advance(call_webhooks.LEASE.total_seconds())
    await call_webhooks.run(horde)
    first, second = receiver.heard
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    logged = await log_of(horde, request_id)
    assert (logged.state, logged.attempts) == ("delivered", 2)


async def test_what_a_stopping_server_was_at_is_repeated(
    horde: Horde, people: People, receiver: Receiver, clock: FixedClock
) -> None:
    (request_id,) = await finish(horde, people, receiver.url("dead.example"))
    calling = asyncio.create_task(call_webhooks.run(horde))
    await receiver.until(lambda: len(receiver.heard) == 1)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (await log_of(horde, request_id)).state == "waiting"
    clock.advance(call_webhooks.LEASE.total_seconds())
    receiver.ended.set()
    await call_webhooks.run(horde)
    assert len(receiver.heard) == 2


async def test_servers_share_the_calls(horde: Horde, people: People, receiver: Receiver) -> None:
    await finish(horde, people, receiver.url(), receiver.url("other.example"), jobs=6)
    await asyncio.gather(*(call_webhooks.run(horde) for _ in range(4)))
    assert len(receiver.heard) == 12
    assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 12


async def test_nobody_waits_for_what_another_takes(horde: Horde, people: People) -> None:
    await finish(horde, people, "https://a.example/", "https://b.example/")
    async with horde.statements.transaction() as statements:
        assert len(await claim(horde, statements, calls_max=1)) == 1
        async with asyncio.timeout(20):
            assert len(await claim(horde)) == 1
    assert await claim(horde) == []


async def test_a_late_outcome_counts_only_if_it_is_success(horde: Horde, people: People) -> None:
    requests_made = await finish(horde, people, "https://a.example/", "https://b.example/")
    now = horde.clock.now()
    first = {call.request_id: call for call in await claim(horde, lease=timedelta())}
    assert len(first) == len(await claim(horde)) == 2
    failed, told = (first[request_id] for request_id in requests_made)
    await webhooks.record(
        horde.statements, failed, Verdict("given_up", error="No."), status=410, now=now
    )
    await webhooks.record(horde.statements, told, Verdict("delivered"), status=200, now=now)
    states = [(await log_of(horde, request_id)).state for request_id in requests_made]
    assert states == ["waiting", "delivered"]


async def test_after_a_day_a_call_is_given_up_and_later_forgotten(
    horde: Horde, people: People, receiver: Receiver, clock: FixedClock
) -> None:
    receiver.answers = ["500 Oops"] * 20
    (request_id,) = await finish(horde, people, receiver.url())
    begun = clock.now()
    while (logged := await log_of(horde, request_id)).due_at is not None:
        clock.set(max(clock.now(), logged.due_at))
        await purge_webhooks.run(horde)
        await call_webhooks.run(horde)
    assert (logged.state, logged.attempts) == ("given_up", len(receiver.heard))
    assert len(receiver.heard) >= 10
    assert clock.now() <= begun + TRIED_FOR
    clock.advance(KEPT.total_seconds() - 1)
    await purge_webhooks.run(horde)
    assert await webhooks.log(horde.statements, request_id)
    clock.advance(2)
    await purge_webhooks.run(horde)
    assert not await webhooks.log(horde.statements, request_id)


async def test_a_call_whose_turn_never_comes_is_given_up(
    horde: Horde, people: People, clock: FixedClock
) -> None:
    (request_id,) = await finish(horde, people, "https://hook.example/")
    clock.advance(LEFT_ALONE_FOR.total_seconds() - 2)
    await purge_webhooks.run(horde)
    assert (await log_of(horde, request_id)).state == "waiting"
    clock.advance(3)
    await purge_webhooks.run(horde)
    logged = await log_of(horde, request_id)
    assert (logged.state, logged.last_error) == ("given_up", LEFT_ALONE)
    await call_webhooks.run(horde)
    assert (await log_of(horde, request_id)).attempts == 0
