# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the name of a model says by itself."""

from typing import Final

OWNER_MARK: Final = "::"


def owner_of(model: str) -> str | None:
    """The alias in `name::alias`, or None."""
    _, mark, alias = model.partition(OWNER_MARK)
    return alias if mark else None
