# SPDX-License-Identifier: AGPL-3.0-or-later
"""Source pictures have quotas, which count what is stored and give it back at the end."""

import asyncio
import base64
import random
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cast import (
    CLIENT,
    Cast,
    ask_forms,
    delivery,
    form_delivery,
    image_request,
    take,
    take_forms,
)
from PIL import Image

from openhorde.server.actions import placing, requests, source_desk, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.requests import Queued
from openhorde.server.actions.source_desk import Sender, SourceDesk
from openhorde.server.boot import open_horde
from openhorde.server.domain.refusals import Refusal
from openhorde.server.settings import ServerSettings
from openhorde.server.store.users import Account
from openhorde.server.tasks import drop_sources
from openhorde.wire.requests import ImageRequest

SIDE = 64


def noise() -> bytes:
    """A picture that nothing makes smaller."""
    written = BytesIO()
    bands = random.Random(1).randbytes(SIDE * SIDE * 3)
    Image.frombytes("RGB", (SIDE, SIDE), bands).save(written, "PNG")
    return written.getvalue()


NOISE = noise()
ENCODED = base64.b64encode(NOISE).decode()


def drawn_from_noise(**changes: object) -> ImageRequest:
    """An image request with one source."""
    return image_request(source_image=ENCODED, **changes)


async def submit(horde: Horde, account: Account, address: str = "192.0.2.1") -> UUID:
    """A request with one source, from an address."""
    client = replace(CLIENT, address=address)
    queued = await requests.submit(horde, account, drawn_from_noise(), client)
    assert isinstance(queued, Queued)
    return queued.request_id


async def stored_bytes(horde: Horde) -> int:
    """What lies in the store."""
    total = 0
    for path in await asyncio.to_thread(lambda: list(horde.settings.data.rglob("*_image.*"))):
        total += (await asyncio.to_thread(path.stat)).st_size
    return total


@asynccontextmanager
async def with_room(
    dsn: str, data: Path, *, per_user: int = 0, in_all: int = 0
) -> AsyncIterator[Horde]:
    """A horde with room for so many of these pictures."""
    size = await stored_size(dsn, data)
    settings = ServerSettings(
        database_url=dsn,
        data=data,
        known_models=None,
        rate_limits=False,
        source_bytes_per_user=per_user * size,
        source_bytes=in_all * size,
    )
    async with open_horde(settings, "http://horde.test") as opened:
        yield opened


async def stored_size(dsn: str, data: Path) -> int:
    """What one of them takes."""
    settings = ServerSettings(database_url=dsn, data=data, known_models=None)
    async with open_horde(settings, "http://horde.test") as horde:
        request_id = await submit(horde, await Cast(horde).make("Measurer", kudos=1000))
        size = await horde.pool.fetchval(
            "select source_bytes from requests where id = $1", request_id
        )
        assert size == await stored_bytes(horde) <= len(NOISE)
        await requests.cancel(horde, request_id)
        await drop_sources.run(horde)
    return int(size)


async def refused(horde: Horde, account: Account, address: str = "192.0.2.1") -> Refusal:
    """How such a request is refused; it leaves nothing behind."""
    before = await stored_bytes(horde)
    with pytest.raises(Refusal) as caught:
        await submit(horde, account, address)
    assert await stored_bytes(horde) == before
    return caught.value


async def test_a_user_has_a_quota_that_comes_back_when_requests_end(
    horde_database: str, tmp_path: Path
) -> None:
    async with with_room(horde_database, tmp_path, per_user=2) as horde:
        cast = Cast(horde)
        alice, dora = await cast.alice(), await cast.make("Dora", kudos=1000)
        first = await submit(horde, alice)
        await submit(horde, alice)
        refusal = await refused(horde, alice)
        assert refusal.code == "TooManyPrompts"
        assert refusal.facts["reason"] == "source bytes"
        assert refusal.facts["maximum"] == horde.settings.source_bytes_per_user
        await submit(horde, dora)
        await requests.cancel(horde, first)
        await drop_sources.run(horde)
        assert await stored_bytes(horde) == horde.settings.source_bytes_per_user
        await submit(horde, alice)


async def test_pictures_that_run_are_kept_and_go_when_the_job_is_done(
    horde: Horde, cast: Cast
) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    await ask_forms(horde, alice, "caption", source_image=ENCODED)
    ((_, job_id),) = await take_forms(horde, bob, "caption")
    await drop_sources.run(horde)
    assert await stored_bytes(horde) > 0
    await work.deliver(horde, bob, form_delivery(job_id, {"caption": "noise"}))
    await drop_sources.run(horde)
    assert await stored_bytes(horde) == 0
    assert await horde.pool.fetchval("select sum(source_bytes) from requests") == 0


async def test_a_job_that_outlives_its_request_keeps_its_pictures(horde: Horde, cast: Cast) -> None:
    alice, bobs = await cast.alice(), [await cast.bob() for _ in range(4)]
    four = {"width": 64, "height": 64, "steps": 1, "n": 4}
    outcome = await requests.submit(horde, alice, drawn_from_noise(params=four), CLIENT)
    assert isinstance(outcome, Queued)
    taken = [await take(horde, bob, name=f"machine {bob.id}") for bob in bobs]
    for (job_id,), bob in list(zip(taken, bobs, strict=True))[:3]:
        await work.deliver(horde, bob, delivery(job_id, faulted=True))
    assert await horde.pool.fetchval("select ended_at is not null from requests")
    await drop_sources.run(horde)
    assert await stored_bytes(horde) > 0
    ((last,), bob) = taken[3], bobs[3]
    await work.deliver(horde, bob, delivery(last))
    await drop_sources.run(horde)
    assert not await horde.pool.fetchval("select sum(source_bytes) from requests")


async def test_those_without_an_account_are_told_apart_by_network(
    horde_database: str, tmp_path: Path
) -> None:
    async with with_room(horde_database, tmp_path, per_user=1) as horde:
        anonymous = await Cast(horde).anonymous()
        await submit(horde, anonymous, "192.0.2.1")
        assert (await refused(horde, anonymous, "192.0.2.1")).code == "TooManyPrompts"
        await submit(horde, anonymous, "192.0.2.2")
        # Whoever has IPv6 has a /64 of it.
        await submit(horde, anonymous, "2001:db8::1")
        assert (await refused(horde, anonymous, "2001:db8::7:0:0:1")).code == "TooManyPrompts"
        await submit(horde, anonymous, "2001:db8:0:1::1")
        await submit(horde, anonymous, "")


async def test_the_whole_store_has_a_bound(horde_database: str, tmp_path: Path) -> None:
    async with with_room(horde_database, tmp_path, in_all=2) as horde:
        for name in ("one", "two"):
            await submit(horde, await Cast(horde).make(name, kudos=1000))
        refusal = await refused(horde, await Cast(horde).make("three", kudos=1000))
        assert refusal.code == "SourceStorageFull"
        assert refusal.facts["maximum"] == horde.settings.source_bytes
        # Without a picture there is no bound.
        account = await Cast(horde).make("four", kudos=1000)
        assert isinstance(await requests.submit(horde, account, image_request(), CLIENT), Queued)


async def test_many_at_once_do_not_go_beyond_it_together(
    horde_database: str, tmp_path: Path
) -> None:
    async with with_room(horde_database, tmp_path, per_user=3) as horde:
        alice = await Cast(horde).alice()
        outcomes = await asyncio.gather(
            *(submit(horde, alice) for _ in range(12)), return_exceptions=True
        )
        taken = [one for one in outcomes if isinstance(one, UUID)]
        assert 1 <= len(taken) <= 3
        assert all(isinstance(one, (UUID, Refusal)) for one in outcomes)
        assert await stored_bytes(horde) <= horde.settings.source_bytes_per_user


async def test_an_image_job_takes_its_source_with_it(horde: Horde, cast: Cast) -> None:
    alice, bob = await cast.alice(), await cast.bob()
    request_id = await submit(horde, alice)
    (job_id,) = await take(horde, bob, bridge_agent="openhorde worker:1:x")
    assert job_id
    await requests.cancel(horde, request_id)
    await drop_sources.run(horde)
    assert await stored_bytes(horde) > 0


async def test_nobody_waits_for_all_the_pictures_of_another(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, dora = await cast.alice(), await cast.make("Dora", kudos=1000)
    monkeypatch.setattr(source_desk, "WAITING_PER_OWNER_MAX", 2)
    monkeypatch.setattr(source_desk, "SMALL_AT_ONCE_MAX", 1)
    desk = SourceDesk(horde.statements, bytes_per_sender_max=0, bytes_max=0)
    crowded = replace(horde, source_desk=desk)
    release = threading.Event()
    busy = asyncio.create_task(desk.decode(Sender(alice.id, None), 1, 1, release.wait))
    await asyncio.sleep(0)
    waiting = [
        asyncio.create_task(desk.decode(Sender(alice.id, None), 1, 1, lambda: None))
        for _ in range(2)
    ]
    await asyncio.sleep(0)
    refusal = await refused(crowded, alice)
    assert refusal.code == "TooManyPrompts"
    assert refusal.facts["reason"] == "pictures waiting"
    asked = asyncio.create_task(submit(crowded, dora))
    release.set()
    assert isinstance(await asked, UUID)
    await asyncio.gather(busy, *waiting)
    desk.close()


@pytest.mark.parametrize("failing", ["put", "look", "store"])
async def test_what_fails_leaves_no_pictures_behind(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    alice = await cast.alice()
    before = await stored_bytes(horde)

    async def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if failing == "put":
        put = horde.blobs.put
        names: list[str] = []

        async def put_once(key: str, data: bytes, media_type: str) -> None:
            if names:
                await fail()
            names.append(key)
            await put(key, data, media_type)

        monkeypatch.setattr(horde.blobs, "put", put_once)
    elif failing == "look":
        monkeypatch.setattr(requests, "look_ahead", fail)
    else:
        monkeypatch.setattr(placing, "store", fail)
    asked = drawn_from_noise(source_processing="inpainting", source_mask=ENCODED)
    with pytest.raises(OSError, match="No space"):
        await requests.submit(horde, alice, asked, CLIENT)
    assert await stored_bytes(horde) == before
    assert not await asyncio.to_thread(
        lambda: list(horde.settings.data.joinpath("pictures").rglob("*_*.*"))
    )


async def test_pictures_stay_if_only_the_answer_was_lost(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await cast.alice()
    store = placing.store

    async def store_unheard(*arguments: Any) -> None:
        await store(*arguments)
        raise ConnectionError("the connection has ended")

    monkeypatch.setattr(placing, "store", store_unheard)
    with pytest.raises(ConnectionError):
        await submit(horde, alice)
    assert await horde.pool.fetchval("select source_bytes from requests") == await stored_bytes(
        horde
    )
