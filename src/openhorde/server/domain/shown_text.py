# SPDX-License-Identifier: AGPL-3.0-or-later
"""Strangers' names, notes and descriptions as others may be shown them: the one cleaner.

Our own pages escape what they show all the same; not every front end does. What is left holds no
markup, no control or format character, nothing invisible, and nothing that turns the direction of
other text: no two names differ only in what nobody sees. A joiner stays between emoji, which it
makes one, and nowhere else. Letters keep their form (NFC, not NFKC: to unfold wide characters would
write markup). All of this takes time linear in the text.
"""

import re
from collections.abc import Iterable
from typing import Any, Final
from unicodedata import category, normalize

import msgspec

from openhorde.wire.requests import GenerationMetadata

NOTE_LENGTH_MAX: Final = 255

_JOINER: Final = "\u200d"
_AS_EMOJI: Final = "\ufe0f"
_KEYCAP: Final = "\u20e3"
_GONE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Drawn as nothing, although of a category that is drawn.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\ufffe\uffff\U000e0000-\U000e0fff]"
)
_TAG_BEGINS: Final = re.compile(r"(?<!<)<++(?=[A-Za-z/!?])")


def shown_text(text: str, length_max: int) -> str:
    """The text as it may be shown: in one line, without what is named above, and not longer."""
    cleaned = " ".join(plain(text).split())
    if len(cleaned) > length_max:
        # A joiner, or what makes an emoji of a digit, may have lost what it stood before.
        cleaned = _visible(cleaned[:length_max]).rstrip()
    return cleaned


def shown_notes(notes: Iterable[GenerationMetadata]) -> list[dict[str, Any]]:
    """What a worker notes of a job, as the requester may be shown it."""
    kept: list[dict[str, Any]] = msgspec.to_builtins(notes)
    for note in kept:
        if "ref" in note:
            note["ref"] = shown_text(note["ref"], NOTE_LENGTH_MAX)
    return kept


def is_plain(text: str) -> bool:
    """Whether a text may be shown just as it is: for names that are compared, and so kept."""
    return plain(text) == text


def plain(text: str) -> str:
    """The text without markup and invisible characters; white space becomes spaces."""
    if text.isascii() and text.isprintable() and "<" not in text:
        return text
    composed = normalize("NFC", _visible(text))
    return normalize("NFC", _TAG_BEGINS.sub("", _without_tags(composed)))


def _visible(text: str) -> str:
    kept: list[str] = []
    for place, character in enumerate(text):
        if character == _JOINER:
            following = text[place + 1 : place + 2]
            if kept and _ends_emoji(kept[-1]) and _is_emoji(following):
                kept.append(character)
        elif character == _AS_EMOJI:
            before, after = (kept[-1] if kept else ""), text[place + 1 : place + 2]
            if _is_emoji(before) or (before in "0123456789#*" and after == _KEYCAP):
                kept.append(character)
        elif character.isspace():
            kept.append(" ")
        elif category(character) not in _GONE and not _INVISIBLE.match(character):
            kept.append(character)
    return "".join(kept)


def _is_emoji(character: str) -> bool:
    return bool(character) and (
        category(character) == "So" or "\U0001f000" <= character <= "\U0001faff"
    )


def _ends_emoji(character: str) -> bool:
    return character == _AS_EMOJI or _is_emoji(character)


def _without_tags(text: str) -> str:
    """Without all that stands between < and its >, inner pairs first, until there is no pair."""
    kept: list[str] = []
    opened: list[int] = []
    for character in text:
        if character == "<":
            opened.append(len(kept))
        if character == ">" and opened:
            del kept[opened.pop() :]
        else:
            kept.append(character)
    return "".join(kept)
