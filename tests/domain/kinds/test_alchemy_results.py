# SPDX-License-Identifier: AGPL-3.0-or-later
from typing import Any

import msgspec
import pytest

from openhorde.server.domain.kinds.alchemy_kind import AlchemyKind
from openhorde.server.domain.kinds.alchemy_results import read_result
from openhorde.server.domain.kinds.face import SentPicture, TakenJob, UploadedPicture
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.refusals import Refusal
from openhorde.wire.alchemy import FormSubmit

KEYWORDS = {"artists": [{"text": "nobody", "confidence": 0.25}], "tags": []}
DEEP: Any = "bottom"
for _ in range(9):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("caption", "a red circle"),
        ("nsfw", False),
        ("nsfw", True),
        ("interrogation", KEYWORDS),
        ("interrogation", {"tags": [{"text": "x", "confidence": 1}]}),
        ("palette", ["#ff0000"]),
        ("aesthetic", 5.5),
        ("describe", {"colours": ["red"]}),
    ],
)
def test_what_a_form_tells_is_kept(form: str, value: Any) -> None:
    assert read_result(form, {form: value, "other": 1}) == (value, None)
    assert read_result(form, msgspec.json.encode({form: value}).decode()) == (value, None)


def test_pictures_are_uploaded_or_come_along() -> None:
    assert read_result("GFPGAN", {"GFPGAN": "R2"}) == ("R2", UploadedPicture("result"))
    along = read_result("GFPGAN", {"GFPGAN": "aGVsbG8="})
    assert along == ("R2", SentPicture("result", "aGVsbG8="))


@pytest.mark.parametrize(
    ("form", "given", "word"),
    [
        ("caption", None, "missing"),
        ("caption", "just words", "JSON"),
        ("caption", "[1]", "missing"),
        ("caption", '"text"', "missing"),
        ("caption", {}, "caption"),
        ("caption", {"nsfw": False}, "caption"),
        ("caption", {"caption": ""}, "empty"),
        ("caption", {"caption": ["a"]}, "text"),
        ("caption", {"caption": "x" * 10_001}, "10000"),
        ("nsfw", {"nsfw": "false"}, "true or false"),
        ("nsfw", {"nsfw": 0}, "true or false"),
        ("nsfw", {"nsfw": None}, "true or false"),
        ("interrogation", {"interrogation": "R2"}, "categories"),
        ("interrogation", {"interrogation": {}}, "categories"),
        ("interrogation", {"interrogation": {"tags": {}}}, "categories"),
        ("interrogation", {"interrogation": {"tags": ["x"]}}, "confidence"),
        ("interrogation", {"interrogation": {"tags": [{"text": "x"}]}}, "confidence"),
        (
            "interrogation",
            {"interrogation": {"tags": [{"text": "x", "confidence": True}]}},
            "confidence",
        ),
        ("GFPGAN", {"GFPGAN": True}, "R2"),
        ("GFPGAN", {"GFPGAN": ""}, "R2"),
        ("GFPGAN", {"caption": "R2"}, "GFPGAN"),
        ("palette", {"palette": DEEP}, "deeper"),
        ("palette", {"palette": "x" * (256 << 10)}, "bytes"),
        ("palette", "[" * 100_000, "JSON"),
    ],
)
def test_junk_is_refused_and_told_why(form: str, given: Any, word: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read_result(form, given)
    assert refusal.value.code == "BadRequest"
    assert refusal.value.facts["field"] == "result"
    assert word in str(refusal.value.facts["why"])


def test_no_nul_gets_in_through_a_string_of_json() -> None:
    for given in ('{"palette": "\\u0000"}', '{"palette": {"\\u0000": 1}}'):
        with pytest.raises(Refusal, match="NulByteInPayload"):
            read_result("palette", given)


@pytest.mark.parametrize("state", ["censored", "csam"])
def test_a_censored_form_is_noted(state: Any) -> None:
    said = FormSubmit(id="", result={"caption": "-"}, state=state)
    outcome = AlchemyKind().outcome(said, TakenJob("caption", 1, True), Reference([]))
    assert outcome.censored
    assert outcome.result["result"] == {"caption": "-"}


def test_what_people_read_of_a_result_is_shown_text() -> None:
    hostile = "a <b><script>x</script></b>red\n\u202ecircle\u200b"
    assert read_result("caption", {"caption": hostile}) == ("a xred circle", None)
    given = {"tags<i>": [{"text": hostile, "confidence": 0.5}]}
    shown = {"tags": [{"text": "a xred circle", "confidence": 0.5}]}
    assert read_result("interrogation", {"interrogation": given}) == (shown, None)
    with pytest.raises(Refusal) as refusal:
        read_result("caption", {"caption": "<b>\u202e</b>"})
    assert "nothing that can be shown" in str(refusal.value.facts["why"])
    # What other forms tell is for programs.
    assert read_result("palette", {"palette": [hostile]}) == ([hostile], None)
