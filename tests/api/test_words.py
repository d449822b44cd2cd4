# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every refusal has words, and they say what the facts are."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import openhorde
from openhorde.server.api.table import OPERATIONS
from openhorde.server.api.words import REASONS, WORDS, refusal_answer, sentence_of, status_of
from openhorde.server.domain.refusals import Refusal

SERVER = Path(openhorde.__file__).parent / "server"
_OPTIONAL = re.compile(r"\[[^\]]*\]")
_FACT = re.compile(r"\{(\w+)\}")


def _raised() -> Iterator[tuple[str, str, dict[str, object]]]:
    """(place, code, facts) of every refusal in the source; facts that are no constants are None."""
    for path in sorted(SERVER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "Refusal" and node.args and isinstance(node.args[0], ast.Constant):
                facts: dict[str, object] = {
                    each.arg: each.value.value if isinstance(each.value, ast.Constant) else None
                    for each in node.keywords
                    if each.arg
                }
                place = f"{path.relative_to(SERVER)}:{node.lineno}"
                yield place, str(node.args[0].value), facts


RAISED = list(_raised())


def test_there_are_refusals() -> None:
    assert len(RAISED) > 30


@pytest.mark.parametrize(("place", "code", "facts"), RAISED, ids=[each[0] for each in RAISED])
def test_every_refusal_has_words_for_its_facts(
    place: str, code: str, facts: dict[str, object]
) -> None:
    assert code in WORDS, place
    told = {name.removesuffix("milli") + "kudos" for name in facts if name.endswith("_milli")}
    template = REASONS.get((code, str(facts.get("reason")))) or REASONS.get(
        (code, str(facts.get("field"))), WORDS[code][1]
    )
    needed = set(_FACT.findall(_OPTIONAL.sub("", template)))
    assert needed <= {*facts, *told}, f"{place} does not tell {needed - {*facts, *told}}"


def test_declared_refusals_have_words() -> None:
    for operation in OPERATIONS:
        for code in operation.refusals:
            assert code in WORDS, operation.name


@pytest.mark.parametrize("code", WORDS)
def test_every_sentence_reads_well(code: str) -> None:
    status, template = WORDS[code]
    assert status in (400, 401, 403, 404, 410, 423, 429, 503)
    bare = sentence_of(code, {})
    assert not set("[]{}") & set(bare)
    assert bare.endswith(".")
    assert "  " not in bare
    full = sentence_of(code, dict.fromkeys(_FACT.findall(template), "FACT"))
    assert full.endswith(".")
    assert full.count("FACT") == len(_FACT.findall(template))


def test_statuses_are_those_of_the_wire() -> None:
    expected = {
        400: ["MaintenanceMode", "DuplicateGen", "AbortedGen", "ControlNetMismatch."],
        401: ["InvalidAPIKey"],
        403: ["WorkerMaintenance", "WrongCredentials", "KudosUpfront", "NotOwner", "DeletedUser"],
        404: ["RequestNotFound", "InvalidJobID", "WorkerNotFound", "UserNotFound"],
        423: ["Locked"],
        429: ["TooManyPrompts"],
    }
    for status, codes in expected.items():
        for code in codes:
            assert status_of(code) == status


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (Refusal("InvalidAPIKey"), "No user matching sent API Key."),
        (Refusal("WorkerMaintenance", message="back at noon"), "maintenance mode: back at noon"),
        (Refusal("WorkerMaintenance", reason="paused"), "maintenance mode"),
        (Refusal("WorkerFlaggedMaintenance"), "maintenance mode"),
        (
            Refusal("BadRequest", reason="models", given=["a", "b"]),
            "we cannot accept workers serving a, b",
        ),
        (Refusal("WrongCredentials", name="x"), "wrong credentials"),
        (Refusal("InvalidJobID", id="7"), "Processing Job with ID 7 does not exist"),
        (Refusal("DuplicateGen", id="7"), "already submitted"),
        (Refusal("AbortedGen", id="7"), "Please check your worker speed"),
    ],
)
def test_texts_that_programs_match_on(refusal: Refusal, words: str) -> None:
    _, body = refusal_answer(refusal)
    assert words in body.message
    assert body.rc == refusal.code
    assert body.errors is None


def test_facts_that_are_missing_leave_their_part_out() -> None:
    assert sentence_of("TooManyLoras", {}) == "params.loras has too many entries."
    told = sentence_of("TooManyLoras", {"given": 6, "maximum": 5})
    assert told == "params.loras has too many entries: 6 where at most 5 are taken."


def test_kudos_are_shown_whole() -> None:
    told = sentence_of("KudosUpfront", {"required_milli": 12_500, "available_milli": 3_000})
    assert "costs 12.5 kudos and 3 are available" in told


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ({"limit_side_pixels": 576}, "(up to 576x576 pixels)"),
        ({"limit_steps": 40}, "(up to 40 steps)"),
        ({"limit_length": 512}, "(up to 512 tokens)"),
    ],
)
def test_what_is_too_heavy_hears_the_bound_that_it_exceeds(
    limit: dict[str, int], told: str
) -> None:
    sentence = sentence_of("KudosUpfront", {"reasons": ("steps",), **limit})
    assert f"Ask for less {told}, allow" in sentence
    assert sentence.count("up to") == 1


def test_an_unknown_code_still_has_an_answer() -> None:
    status, body = refusal_answer(Refusal("Unheard"))
    assert (status, body.rc) == (400, "Unheard")
    assert "Unheard" in body.message
