# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every operation of the document, with data that fit it and data that do not (schemathesis)."""

from typing import Any

import pytest
import schemathesis
from hostile.attacks import Target
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS

from openhorde.server.api.openapi import openapi_document
from openhorde.server.api.table import OPERATIONS

EXAMPLES = 25
SEED = 7
WAIT_SECONDS = 0.05
WAIT_SECONDS_MAX = 60
DOCUMENT = openapi_document(OPERATIONS)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
ALL = [result.ok() for result in SCHEMA.get_all_operations()]
# A path and nothing else cannot be wrong: any text may be an id.
WRONG = [each for each in ALL if each.body or each.query]
PROMISES = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    ]
)


def test_the_document_served_is_the_one_attacked(target: Target) -> None:
    assert target.http.get("/api/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.label)
def test_data_that_fit_get_an_answer_that_is_declared(target: Target, operation: Any) -> None:
    attack(target, operation, GenerationMode.POSITIVE)


@pytest.mark.parametrize("operation", WRONG, ids=lambda operation: operation.label)
def test_data_that_do_not_fit_get_an_answer_that_is_declared(
    target: Target, operation: Any
) -> None:
    attack(target, operation, GenerationMode.NEGATIVE)


def attack(target: Target, operation: Any, mode: GenerationMode) -> None:
    """Send examples, the same ones each time, and hold the answers against the document."""

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Case) -> None:
        hurry(case.body)
        case.call_and_validate(
            base_url=str(target.http.base_url), headers=target.headers, checks=PROMISES
        )

    one()


def hurry(body: Any) -> None:
    """A call that may be held as long as it says is held a moment only."""
    wait = body.get("wait") if isinstance(body, dict) else None
    if isinstance(wait, int | float) and WAIT_SECONDS < wait <= WAIT_SECONDS_MAX:
        body["wait"] = WAIT_SECONDS
