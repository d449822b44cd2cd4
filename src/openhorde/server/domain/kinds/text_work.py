# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much work a text is: its tokens, and how fast a worker must be (rules 3.5, 4.4).

Lengths are in tokens; a token counts as four characters.
"""

from math import ceil
from typing import Final

CHARACTERS_PER_TOKEN: Final = 4
TOKENS_COUNTED_MIN: Final = 20
CHARACTERS_MAX: Final = 10 << 20
"""The longest prompt and the longest text, in characters."""

FAST_TOKENS_PER_SECOND: Final = ((20.0, 3.0), (13.0, 4.0), (0.0, 5.0))
"""From so many billion parameters on, so many tokens a second are fast."""

TTL_FIXED_SECONDS: Final = 30
SLOW_TOKENS_PER_SECOND: Final = 2.0
"""Whoever allows slow workers gives them time for this pace."""


def ttl_seconds(max_length: int, minimum_seconds: int) -> int:
    """How long a worker has for a text of so many tokens."""
    return max(minimum_seconds, TTL_FIXED_SECONDS + ceil(max_length / SLOW_TOKENS_PER_SECOND))


def tokens(characters: int, max_length: int) -> int:
    """The tokens that a text of so many characters counts as: at least 20, never more than asked
    for (rules 3.5)."""
    counted = max(TOKENS_COUNTED_MIN, -(-characters // CHARACTERS_PER_TOKEN))
    return min(max_length, counted)


def fast_tokens_per_second(billions: float | None) -> float:
    """The pace from which a worker with a model of that size (None: unknown) is not slow."""
    size = billions or 0.0
    return next(pace for at_least, pace in FAST_TOKENS_PER_SECOND if size >= at_least)
