# SPDX-License-Identifier: AGPL-3.0-or-later
"""A picture that is paid for is there, and stays as it was."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from cast import (
    Cast,
    ask,
    ask_forms,
    delivery,
    form_delivery,
    picture_bytes,
    take,
    take_forms,
)

from openhorde.server.actions import pictures, requests, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.pictures import BYTES_MAX, upload_key
from openhorde.server.actions.work import Delivery
from openhorde.server.domain.refusals import Refusal
from openhorde.server.kit.clock import FixedClock
from openhorde.server.store.users import Account
from openhorde.server.tasks import prune_pictures

RED, BLUE = picture_bytes(color="red"), picture_bytes(color="blue")


async def upload(horde: Horde, job_id: UUID, data: bytes) -> None:
    """What comes of a PUT to the job's upload link."""
    await horde.blobs.put(upload_key(job_id), data, "image/webp")


async def taken_image(horde: Horde, cast: Cast, bob: Account) -> tuple[UUID, UUID, Delivery]:
    """A request and its job, which Bob has taken, and what he hands in after an upload."""
    request_id = await ask(horde, await cast.alice())
    (job_id,) = await take(horde, bob)
    return request_id, job_id, delivery(job_id, generation="R2")


async def taken_form(horde: Horde, cast: Cast, bob: Account) -> tuple[UUID, UUID, Delivery]:
    """The same of a form that makes a picture."""
    request_id = await ask_forms(horde, await cast.alice(), "GFPGAN")
    ((_, job_id),) = await take_forms(horde, bob, "GFPGAN")
    return request_id, job_id, form_delivery(job_id, {"GFPGAN": "R2"})


TAKEN = pytest.mark.parametrize("taken", [taken_image, taken_form])


async def kept(horde: Horde, request_id: UUID) -> bytes | None:
    """The picture of a request's job, as its requester gets it."""
    _, (job,) = await requests.read(horde, request_id)
    assert job.result is not None
    return await horde.blobs.get(job.result["picture"])


@TAKEN
@pytest.mark.parametrize(
    ("uploaded", "reason"),
    [
        (None, "not_uploaded"),
        (b"", "no picture"),
        (b"some words", "no picture"),
        (RED + bytes(BYTES_MAX), "more than"),
    ],
    ids=["nothing", "empty", "words", "huge"],
)
async def test_what_is_not_there_is_not_paid(
    horde: Horde, cast: Cast, taken: Any, uploaded: bytes | None, reason: str
) -> None:
    bob = await cast.bob()
    _, job_id, result = await taken(horde, cast, bob)
    if uploaded is not None:
        await upload(horde, job_id, uploaded)
    with pytest.raises(Refusal, match="ImageValidationFailed") as refused:
        await work.deliver(horde, bob, result)
    assert reason in str(refused.value.facts["reason"])
    # The job is still the worker's: it may upload now.
    await upload(horde, job_id, RED)
    assert await work.deliver(horde, bob, result) > 0


@TAKEN
async def test_a_later_upload_changes_nothing(horde: Horde, cast: Cast, taken: Any) -> None:
    bob = await cast.bob()
    request_id, job_id, result = await taken(horde, cast, bob)
    await upload(horde, job_id, RED)
    await work.deliver(horde, bob, result)
    await upload(horde, job_id, BLUE)
    with pytest.raises(Refusal, match="DuplicateGen"):
        await work.deliver(horde, bob, result)
    assert await kept(horde, request_id) == RED


async def test_of_two_results_at_once_the_paid_one_is_kept(
    horde: Horde, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await cast.bob()
    request_id, job_id, result = await taken_image(horde, cast, bob)
    copied, paid = asyncio.Event(), asyncio.Event()
    keep = pictures.keep_picture

    async def keep_and_dawdle(*arguments: Any) -> str:
        key = await keep(*arguments)
        if not copied.is_set():
            copied.set()
            await paid.wait()
        return key

    monkeypatch.setattr(work, "keep_picture", keep_and_dawdle)
    await upload(horde, job_id, RED)
    late = asyncio.create_task(work.deliver(horde, bob, result))
    await copied.wait()
    await upload(horde, job_id, BLUE)
    await work.deliver(horde, bob, result)
    paid.set()
    with pytest.raises(Refusal, match="DuplicateGen"):
        await late
    assert await kept(horde, request_id) == BLUE


@TAKEN
async def test_a_link_is_closed_once_its_job_is_done(horde: Horde, cast: Cast, taken: Any) -> None:
    bob = await cast.bob()
    _, job_id, result = await taken(horde, cast, bob)
    await upload(horde, job_id, RED)
    assert await pictures.is_upload_open(horde, upload_key(job_id))
    await work.deliver(horde, bob, result)
    assert not await pictures.is_upload_open(horde, upload_key(job_id))
    assert not await pictures.is_upload_open(horde, upload_key(UUID(int=7)))


async def test_what_was_uploaded_is_pruned_like_what_is_kept(horde: Horde, cast: Cast) -> None:
    bob = await cast.bob()
    request_id, job_id, result = await taken_image(horde, cast, bob)
    await upload(horde, job_id, RED)
    await work.deliver(horde, bob, result)
    await prune_pictures.run(horde)
    assert await kept(horde, request_id) == RED
    later = horde.clock.now() + timedelta(seconds=horde.settings.picture_seconds + 60)
    await prune_pictures.run(replace(horde, clock=FixedClock(later)))
    assert await kept(horde, request_id) is None
    assert await horde.blobs.get(upload_key(job_id)) is None
