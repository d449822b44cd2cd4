# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a small model knows, so that a prompt about anything else is answered with a hint."""

import re
from typing import Annotated

from msgspec import Meta, Struct

WORD = re.compile(r"[^\W\d_]+")
PLURALS = ("", "s", "es")


class Subject(Struct, frozen=True, kw_only=True):
    """The `words` of which a prompt needs one, in lower case, and the `hint` for one without any.

    A sidecar `openhorde.json` of a model may hold it; a model of everything has none.
    """

    words: list[Annotated[str, Meta(min_length=1, max_length=64)]]
    hint: Annotated[str, Meta(min_length=1, max_length=255)]

    def hint_for(self, prompt: str) -> str | None:
        """The hint, unless the prompt holds one of the words, in the singular or the plural."""
        known = {word + ending for word in self.words for ending in PLURALS}
        return None if known.intersection(WORD.findall(prompt.lower())) else self.hint
