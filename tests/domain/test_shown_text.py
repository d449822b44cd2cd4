# SPDX-License-Identifier: AGPL-3.0-or-later
"""What strangers call things, as others are shown it."""

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhorde.server.domain.kinds.face import AnyKind, TakenJob
from openhorde.server.domain.kinds.table import KINDS
from openhorde.server.domain.reference import Reference
from openhorde.server.domain.shown_text import is_plain, plain, shown_text
from openhorde.wire.requests import GenerationMetadata

# Much of what is awkward, close together.
AWKWARD = (
    "<>/!?ab1# \t\n\0\x7f\x85\xa0\xad\u034f\u115f\u200b\u200c\u200d\u200e\u2028\u202e\u2066"
    "\u20e3\ufe0e\ufe0f\ufeff\ufffe\u0338\u0301\u212ae\u2764\u2800\U0001f525\U0001f3fd\ud83d"
)
texts = st.text(st.one_of(st.sampled_from(AWKWARD), st.characters()), max_size=60)


@given(texts, st.integers(1, 70))
def test_nothing_is_left_that_others_should_not_see(text: str, length_max: int) -> None:
    shown = shown_text(text, length_max)
    assert len(shown) <= length_max
    assert shown == shown.strip()
    assert "  " not in shown
    assert not re.search(r"<[^<>]*>", shown)
    assert not re.search(r"<[A-Za-z/!?]", shown)
    for place, character in enumerate(shown):
        if character == "\u200d":
            assert 0 < place < len(shown) - 1
            assert not shown[place - 1].isalnum()
            assert not shown[place + 1].isalnum()
        else:
            assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    assert unicodedata.normalize("NFC", shown) == shown
    shown.encode()


@given(texts, st.integers(1, 70))
def test_what_is_clean_stays_as_it_is(text: str, length_max: int) -> None:
    shown = shown_text(text, length_max)
    assert shown_text(shown, length_max) == shown
    assert is_plain(plain(text))
    assert is_plain(shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Alice", "Alice"),
        (" Alice \t\n and  Bob ", "Alice and Bob"),
        ("<b>big</b> box", "big box"),
        ("<<script>script>alert(1)<</script>/script>", "alert(1)"),
        ("<<<a>b>c>d", "d"),
        ("<scr<b>ipt>x", "x"),
        ("x <img src=x onerror=alert(1)", "x img src=x onerror=alert(1)"),
        ("<<<b", "b"),
        ("<\u200bb", "b"),
        ("<\u212a", "K"),
        ("I <3 you, a < b > c", "I <3 you, a c"),
        ("1 > 0 < 2", "1 > 0 < 2"),
        ("a\u202eb\u2066c\u200ed", "abcd"),
        ("Ali\u200dce\u200b\u2060\ufeff\u00ad", "Alice"),
        ("a\0b\x1bc\x7f", "abc"),
        ("A\ufe0fB\ufe0e", "AB"),
        ("e\u0301", "\u00e9"),
        ("\uff1cb\uff1e", "\uff1cb\uff1e"),
        ("\u3164\u2800\u115f", ""),
        ("half \ud83d", "half"),
        # Emoji are whole: a heart on fire, a family, a keycap, a waving hand.
        ("\u2764\ufe0f\u200d\U0001f525", "\u2764\ufe0f\u200d\U0001f525"),
        ("\U0001f469\u200d\U0001f467", "\U0001f469\u200d\U0001f467"),
        ("1\ufe0f\u20e3", "1\ufe0f\u20e3"),
        ("\U0001f44b\U0001f3fd", "\U0001f44b\U0001f3fd"),
        ("\U0001f525\u200dx", "\U0001f525x"),
        ("Zo\u00eb \u30db\u30eb\u30c7", "Zo\u00eb \u30db\u30eb\u30c7"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert shown_text(text, 100) == shown


def test_what_is_cut_leaves_no_half_emoji() -> None:
    assert shown_text("\u2764\ufe0f\u200d\U0001f525", 3) == "\u2764\ufe0f"
    assert shown_text("1\ufe0f\u20e3", 2) == "1"
    assert shown_text("ab cd", 3) == "ab"


def test_nested_markup_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each character is looked at a bounded number of times, however deep it is nested."""
    from openhorde.server.domain import shown_text as module

    looked = 0

    def counting(character: str) -> str:
        nonlocal looked
        looked += 1
        return unicodedata.category(character)

    monkeypatch.setattr(module, "category", counting)
    for text in (
        "<" * 50_000 + "\u00e9" + ">" * 50_000,
        "<a\u00e9>" * 20_000,
        "\u200d\ufe0f" * 50_000,
    ):
        looked = 0
        shown_text(text, 100)
        assert looked <= 3 * len(text)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_what_workers_note_is_kept_as_it_may_be_shown(kind: AnyKind) -> None:
    notes = [
        GenerationMetadata(type="information", value="see_ref", ref="too <b>large</b>\u202e\n now"),
        GenerationMetadata(type="lora", value="download_failed", ref="17"),
        GenerationMetadata(type="censorship", value="nsfw"),
    ]
    handed_in: dict[str, Any] = {"image": {"generation": "R2"}, "text": {"generation": "."}}
    fields: dict[str, Any] = handed_in.get(kind.name, {"result": {"nsfw": True}})
    said = kind.submit_type(id="1", gen_metadata=notes, **fields)
    outcome = kind.outcome(said, TakenJob("nsfw", 1, True), Reference([]))
    assert outcome.result["gen_metadata"] == [
        {"type": "information", "value": "see_ref", "ref": "too large now"},
        {"type": "lora", "value": "download_failed", "ref": "17"},
        {"type": "censorship", "value": "nsfw"},
    ]
