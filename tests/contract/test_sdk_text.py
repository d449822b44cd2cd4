# SPDX-License-Identifier: AGPL-3.0-or-later
"""The official SDK, strict about every field, asks for texts and writes them."""

from pathlib import Path

from contract.test_sdk import play
from contract.wire import Person
from processes import RunningServer

PROGRAM = Path(__file__).with_name("sdk_text_program.py")
MODEL = "text model of the SDK"


def test_the_simple_client_has_a_text_written_by_a_worker_made_with_the_sdk(
    server: RunningServer, alice: Person, bob: Person
) -> None:
    written, priced = play(server, "write", alice.key, bob.key, MODEL, program=PROGRAM)
    assert written["texts"] == ["there was a horde."]
    assert written["done"]
    assert priced["price"] > 0


def test_a_text_is_read_and_cancelled_by_hand(
    server: RunningServer, alice: Person, bob: Person
) -> None:
    facts, *answers = play(server, "manage", alice.key, bob.key, MODEL, program=PROGRAM)
    assert facts == {"waiting": 3, "cancelled": 3, "idle": None, "ids": []}
    assert {each["request"]: each["answer"] for each in answers} == {
        "HordeStatusModelsAllRequest": "HordeStatusModelsAllResponse",
        "HordePerformanceRequest": "HordePerformanceResponse",
        "AllWorkersDetailsRequest": "AllWorkersDetailsResponse",
        "TextStatsModelsRequest": "TextStatsModelResponse",
        "TextStatsModelsTotalRequest": "TextStatsModelsTotalResponse",
    }


def test_every_refusal_is_one_that_the_sdk_reads(
    server: RunningServer, alice: Person, bob: Person
) -> None:
    refusals = play(server, "fail", alice.key, bob.key, MODEL, program=PROGRAM)
    assert {each["name"]: each["rc"] for each in refusals} == {
        "status": "RequestNotFound",
        "cancel": "RequestNotFound",
        "job": "InvalidJobID",
        "heavy": "KudosUpfront",
        "anonymous": "AnonForbiddenWorker",
    }
    assert all(each["message"] for each in refusals)
