# SPDX-License-Identifier: AGPL-3.0-or-later
"""The words that interrogation ranks: one text file for each category, one phrase a line."""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "words"
CATEGORIES = (
    "mediums",
    "flavors",
    "artists",
    "movements",
    "sites",
    "techniques",
    "tags",
    "colours",
    "shapes",
)


@cache
def words_of(category: str) -> tuple[str, ...]:
    """The phrases of a category. Raises KeyError when there is none of that name."""
    if category not in CATEGORIES:
        raise KeyError(category)
    lines = (_FOLDER / f"{category}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line)
