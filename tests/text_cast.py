# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the cast does with texts."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec
from cast import CLIENT

from openhorde.server.actions import requests, work
from openhorde.server.actions.horde import Horde
from openhorde.server.actions.requests import Queued
from openhorde.server.actions.work import Delivery
from openhorde.server.actions.workforce import Workforce
from openhorde.server.domain.reference import EVERY_NAME, Reference
from openhorde.server.domain.text_reference import TextReference
from openhorde.server.store.users import Account
from openhorde.wire.text import TextPop, TextRequest, TextSubmit

KOBOLD_AGENT = "KoboldCppEmbedWorker:2:https://example.org"
SIZES = {"seven": 7.0, "seventy": 70.0}


def with_text_models(horde: Horde) -> Horde:
    """The same horde, which knows the sizes of some text models."""
    reference = Reference.from_json({EVERY_NAME: None}, TextReference(SIZES))
    workforce = Workforce(horde.statements, reference)
    return replace(horde, reference=reference, workforce=workforce)


def text_request(**changes: Any) -> TextRequest:
    """A request for 80 tokens; `changes` are fields as they travel."""
    body = {"prompt": "Once upon a time", "params": {}, "models": ["seven"]}
    return msgspec.convert(body | changes, TextRequest)


def text_pop(**changes: Any) -> TextPop:
    """A pop of a scribe."""
    body = {"name": "Bob's scribe", "models": ["seven"], "bridge_agent": KOBOLD_AGENT}
    return msgspec.convert(body | changes, TextPop)


async def ask_text(horde: Horde, account: Account, **changes: Any) -> UUID:
    """Submit a request that is accepted."""
    outcome = await requests.submit(horde, account, text_request(**changes), CLIENT)
    assert isinstance(outcome, Queued)
    return outcome.request_id


async def take_text(horde: Horde, owner: Account, **changes: Any) -> list[UUID]:
    """The ids of the jobs that a pop brings."""
    popped = await work.pop(horde, owner, text_pop(**changes), "127.0.0.1")
    return [job.id for job in popped.jobs]


def text_delivery(job_id: UUID, text: str = "a" * 320, **changes: Any) -> Delivery:
    """What the scribe wrote, 80 tokens unless said otherwise; `changes` are fields of the submit,
    as they travel."""
    body = {"id": str(job_id), "generation": text}
    submit = msgspec.convert(body | changes, TextSubmit)
    return Delivery(
        job_id=job_id,
        faulted=submit.state == "faulted",
        submit=submit,
        metadata=msgspec.to_builtins(submit.gen_metadata),
    )
