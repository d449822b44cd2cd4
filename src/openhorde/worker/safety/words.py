# SPDX-License-Identifier: AGPL-3.0-or-later
"""Prompts that must not be drawn: those that hold a word of the owner's list."""

import re
from collections.abc import Sequence


def compile_words(words: Sequence[str]) -> re.Pattern[str] | None:
    """A pattern that finds any of the words, whole and in any case; None when there are none."""
    wanted = [r"\s+".join(map(re.escape, word.split())) for word in words if word.strip()]
    if not wanted:
        return None
    return re.compile(rf"(?<!\w)(?:{'|'.join(wanted)})(?!\w)", re.IGNORECASE)
