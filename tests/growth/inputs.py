# SPDX-License-Identifier: AGPL-3.0-or-later
"""Texts over which those who take texts apart may stumble."""

from typing import NamedTuple


class Repeated(NamedTuple):
    """A text that is one piece again and again, between a beginning and an end."""

    beginning: str
    piece: str
    end: str = ""

    def of(self, size: int) -> str:
        """About so many characters of it."""
        return self.beginning + self.piece * (size // len(self.piece)) + self.end


PIECES = (
    *("a", "0", " ", "<", ">", "&", "#", ",", ":", "/", "\\", "\n", "(", "[", '"', "%", "=", "\0"),
    *("\u200d", "\u0301", "\ufe0f", "\U0001f600", "<a", "<b>", "<<>", "::", "-Q4", ".Q2_"),
    *("a,", "a#1,", "1.1.1.1,", 'for="', "[::1],", "%41", "a=b&"),
)
TEXTS = [
    *(Repeated("", piece) for piece in PIECES),
    Repeated("data:", ","),
    Repeated("", "<", ">"),
    Repeated("<" * 1000, ">"),
    Repeated("name#", "9"),
]
