# SPDX-License-Identifier: AGPL-3.0-or-later
"""Alchemy requests as the v2 wire shows them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from openhorde.server.actions.forms import linked
from openhorde.server.actions.progress import Progress
from openhorde.server.domain.kinds.alchemy_kind import AlchemyKind
from openhorde.server.domain.kinds.alchemy_states import (
    Attempt,
    fault_reason,
    form_state,
    request_state,
)
from openhorde.server.domain.lives import State
from openhorde.server.domain.refusals import Refusal
from openhorde.server.store import requests
from openhorde.server.store.events import TakenJob
from openhorde.wire.alchemy import AlchemyRequest, AlchemyStatus, FormStatus

if TYPE_CHECKING:
    from openhorde.server.actions.horde import Horde


async def alchemy_shown(
    horde: "Horde", progress: Progress, taken: Sequence[TakenJob]
) -> AlchemyStatus:
    """Every form, in the order they were asked for. What is not done has no result."""
    body = await requests.body(horde.statements, progress.facts.id)
    if body is None:
        raise Refusal("RequestNotFound", id=str(progress.facts.id))
    by_ordinal: dict[int, list[TakenJob]] = {}
    for job in taken:
        by_ordinal.setdefault(job.ordinal, []).append(job)
    forms = []
    for ordinal, asked in enumerate(msgspec.json.decode(body, type=AlchemyRequest).forms, 1):
        tries = by_ordinal.get(ordinal, [])
        forms.append(await _form_shown(horde, progress.facts.state, asked.name, tries))
    return AlchemyStatus(state=request_state([form.state for form in forms]), forms=forms)


async def _form_shown(
    horde: "Horde", state_of_request: str, name: str, tries: list[TakenJob]
) -> FormStatus:
    attempts = [Attempt(job.state, job.result) for job in tries]
    shown = FormStatus(form=name, state=form_state(state_of_request, attempts, AlchemyKind.faults))
    if shown.state == "faulted":
        shown.reason = fault_reason(attempts)
    for job in tries:
        if job.state == State.DONE and job.result is not None:
            shown.result = await linked(horde, name, job.result)
    return shown
