# SPDX-License-Identifier: AGPL-3.0-or-later
import pytest

from openhorde.server.domain.kinds.alchemy_states import (
    EXPIRED,
    GIVEN_UP,
    OVERDUE,
    Attempt,
    fault_reason,
    form_state,
    request_state,
)
from openhorde.server.domain.lives import Faults
from openhorde.wire.alchemy import FormState

RULE = Faults(4, apart=True)


@pytest.mark.parametrize(
    ("request_is", "attempts", "form_is"),
    [
        ("active", "", "waiting"),
        ("active", "running", "processing"),
        ("active", "faulted", "waiting"),
        ("active", "faulted faulted faulted", "waiting"),
        ("active", "faulted faulted faulted running", "processing"),
        ("active", "faulted faulted faulted faulted", "faulted"),
        ("active", "faulted done", "done"),
        ("cancelled", "", "cancelled"),
        ("cancelled", "running", "cancelled"),
        ("cancelled", "done", "done"),
        ("expired", "", "faulted"),
        ("expired", "done", "done"),
        ("faulted", "faulted faulted faulted faulted", "faulted"),
    ],
)
def test_how_far_a_form_is(request_is: str, attempts: str, form_is: FormState) -> None:
    tries = [Attempt(state, None) for state in attempts.split()]
    assert form_state(request_is, tries, RULE) == form_is


@pytest.mark.parametrize(
    ("forms", "whole"),
    [
        (["faulted", "faulted"], "faulted"),
        (["done", "done"], "done"),
        (["done", "processing", "waiting"], "processing"),
        (["done", "waiting"], "waiting"),
        (["done", "faulted"], "partial"),
        (["cancelled", "done"], "partial"),
        (["cancelled"], "partial"),
    ],
)
def test_how_far_a_request_is(forms: list[FormState], whole: FormState) -> None:
    assert request_state(forms) == whole


def test_why_a_form_faulted() -> None:
    assert fault_reason([]) == EXPIRED
    assert fault_reason([Attempt("faulted", {"outcome": "overdue"})]) == OVERDUE
    assert fault_reason([Attempt("faulted", {"outcome": "faulted"})]) == GIVEN_UP
    note = {"type": "information", "value": "see_ref", "ref": "the engine ran out of memory"}
    told = Attempt("faulted", {"outcome": "faulted", "gen_metadata": [note]})
    assert fault_reason([Attempt("faulted", None), told]) == "the engine ran out of memory"
