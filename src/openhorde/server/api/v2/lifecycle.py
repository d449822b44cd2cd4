# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the calls of a request's life have in common, whatever its kind."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from openhorde.server.actions import requests, waiting, work
from openhorde.server.actions.requests import Client, Priced, Queued
from openhorde.server.actions.work import Delivery, Popped
from openhorde.server.api.operations import Bucket, Call, Limit, uuid_of
from openhorde.server.domain.shown_text import shown_notes
from openhorde.wire.work import Rewarded

Shown = TypeVar("Shown")

NOTHING: Final = Popped((), {})
"""What nobody hears any more is told this."""

ASK_LIMITS: Final = (
    Limit("90/minute", Bucket.ADDRESS_AND_PATH, rate_welcome="300/minute"),
    Limit("2/second", Bucket.ADDRESS_AND_PATH, rate_welcome="10/second"),
    Limit(
        "2/second",
        Bucket.KEY_AND_PATH,
        rate_anonymous="60/second",
        rate_welcome="60/second",
    ),
)
WORK_LIMITS: Final = (Limit("60/second"),)

POP_REFUSALS: Final = (
    "InvalidAPIKey",
    "AnonForbiddenWorker",
    "WorkerMaintenance",
    "WrongCredentials",
)
SUBMIT_REFUSALS: Final = (
    "InvalidAPIKey",
    "InvalidJobID",
    "WrongCredentials",
    "DuplicateGen",
    "AbortedGen",
)


async def ask(call: Call) -> Priced | Queued:
    """Queue the request in the body, or only price it when it is a dry run."""
    client = Client(agent=call.client_agent, address=call.client_address)
    return await requests.submit(call.horde, call.caller, call.body, client)


def request_id(call: Call) -> UUID:
    """The request that the path names."""
    return uuid_of(call.path["id"], "RequestNotFound")


async def hand_out(call: Call, show: Callable[[Popped], Awaitable[Shown]]) -> Shown:
    """Give the worker that pops the best there is for it, at once or as long as it waits. What
    cannot be shown, or was taken for a worker that has hung up, goes back into the queue."""
    if call.has_left():
        return await show(NOTHING)
    popped = await waiting.pop(
        call.horde, call.caller, call.body, call.client_address, call.hung_up, call.has_left
    )
    if not popped.jobs:
        return await show(popped)
    unheard = partial(work.take_back, call.horde, popped.jobs)
    try:
        shown = await show(popped)
    except BaseException:
        await asyncio.shield(unheard())
        raise
    if call.has_left():
        await unheard()
        return await show(NOTHING)
    call.unheard = unheard
    return shown


async def take_result(call: Call) -> Rewarded:
    """Take what a worker submits of a job, and pay for it."""
    said = call.body
    delivery = Delivery(
        job_id=uuid_of(said.id, "InvalidJobID"),
        faulted=said.state == "faulted",
        submit=said,
        metadata=shown_notes(said.gen_metadata),
    )
    return Rewarded(reward=await work.deliver(call.horde, call.caller, delivery) / 1000)
