# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the little models are that ship with the program."""

from pathlib import Path

_MODELS = Path(__file__).parents[1] / "demo" / "models"


def shipped(name: str) -> Path:
    """The folder of a shipped model: shapes, caption, rank or text."""
    return _MODELS / name
