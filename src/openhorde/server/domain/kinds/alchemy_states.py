# SPDX-License-Identifier: AGPL-3.0-or-later
"""How far forms are, and so a request of them (rules 5)."""

from collections.abc import Collection, Sequence
from typing import Any

from msgspec import Struct

from openhorde.server.domain.faults import told_reason
from openhorde.server.domain.lives import Faults, State
from openhorde.wire.alchemy import FormState

OVERDUE = "The worker did not deliver in time."
GIVEN_UP = "The worker gave it up."
EXPIRED = "No worker did it in time."


class Attempt(Struct, frozen=True):
    """A worker's attempt at a form. `result` is there once it has ended."""

    state: str
    result: dict[str, Any] | None


def form_state(request_state: str, attempts: Sequence[Attempt], rule: Faults) -> FormState:
    """How far a form is. What has not been done of a cancelled request is cancelled, also where a
    worker may still deliver it."""
    states = [attempt.state for attempt in attempts]
    if State.DONE in states:
        return "done"
    if request_state == "cancelled":
        return "cancelled"
    if request_state == "expired" or states.count(State.FAULTED) >= rule.most:
        return "faulted"
    if any((attempt.result or {}).get("of_request") for attempt in attempts):
        return "faulted"
    return "processing" if State.RUNNING in states else "waiting"


def request_state(states: Collection[FormState]) -> FormState:
    """How far a request is whose forms are so far."""
    first: Sequence[FormState] = ("faulted", "done")
    for whole in first:
        if all(state == whole for state in states):
            return whole
    open_states: Sequence[FormState] = ("processing", "waiting")
    return next((state for state in open_states if state in states), "partial")


def fault_reason(attempts: Sequence[Attempt]) -> str:
    """Why a form has faulted: what the worker that tried it last says, if it says anything."""
    failed = [each.result or {} for each in attempts if each.state == State.FAULTED]
    if not failed:
        return EXPIRED
    told = told_reason(failed[-1].get("gen_metadata", ()))
    if told is not None:
        return told
    return OVERDUE if failed[-1].get("outcome") == "overdue" else GIVEN_UP
